//! Devices of several kinds, what they lack, and errors that a person can act on.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use common::{eal, frame, number, one_at_a_time, pattern, pool, receive, send_all, start};
use sluice_dataplane::io::Frame;
use sluice_dpdk::{
    Device, DeviceError, EalConfig, EalError, Mbuf, Pool, PoolConfig, PoolError, PortConfig,
    PortError, Rss, RssConfig, RssMode, Started,
};

/// Two memif devices, connected.
fn memif_pair(config: &PortConfig, pool: &Pool) -> (Started, Started) {
    let (one, other) = (number(), number());
    let socket = format!("sluice-test-{}-{one}", std::process::id());
    let end = |id, role| {
        let device = format!("net_memif{id},role={role},socket={socket},socket-abstract=yes");
        start(&device, config, pool)
    };
    let (server, client) = (end(one, "server"), end(other, "client"));
    let until = Instant::now() + Duration::from_secs(10);
    while !(server.port.link().up && client.port.link().up) {
        assert!(Instant::now() < until, "the link stays down");
        std::thread::sleep(Duration::from_millis(10));
    }
    (server, client)
}

/// Closes one end, and the other when it has seen that: memif's interrupt thread gets into the way of
/// whoever closes a device whose peer is closing.
fn unplug(server: Started, client: Started) {
    drop(client);
    let until = Instant::now() + Duration::from_secs(10);
    while server.port.link().up {
        assert!(Instant::now() < until, "the link stays up");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(50));
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sluice-dpdk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn memif_carries_frames_both_ways_and_keeps_none() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let (mut server, mut client) = memif_pair(&PortConfig::default(), &pool);
    for len in [60, 1514] {
        let sent = pattern(len, 7);
        send_all(&mut client.tx[0], [frame(&pool, &sent)]);
        assert_eq!(receive(&mut server.rx[0], 1)[0].bytes(), sent);
        // The client lends the server buffers when it receives, so it has to, first.
        assert_eq!(client.rx[0].receive(&mut ArrayVec::<Mbuf, 1>::new()), 0);
        send_all(&mut server.tx[0], [frame(&pool, &sent)]);
        assert_eq!(receive(&mut client.rx[0], 1)[0].bytes(), sent);
    }
    let stats = client.port.stats();
    assert_eq!((stats.rx_packets, stats.tx_packets), (2, 2));
    assert_eq!((stats.rx_bytes, stats.tx_bytes), (1574, 1574));
    let extended = client.port.extended_stats();
    assert!(
        extended.contains(&("rx_good_packets".to_owned(), 2)),
        "{extended:?}"
    );
    unplug(server, client);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn jumbo_frames_cross_memif_in_one_buffer() {
    let _one = one_at_a_time();
    let pool = pool(9000);
    let config = PortConfig {
        mtu: 9000,
        ..PortConfig::default()
    };
    let (mut server, mut client) = memif_pair(&config, &pool);
    let sent = pattern(9014, 1);
    send_all(&mut client.tx[0], [frame(&pool, &sent)]);
    let received = receive(&mut server.rx[0], 1);
    assert_eq!(received[0].bytes(), sent);
    assert!(!received[0].meta().segmented);
    assert_eq!(server.port.mtu(), 9000);
    drop(received);
    unplug(server, client);
}

#[test]
fn a_frame_in_several_buffers_says_so_and_is_freed_whole() {
    let _one = one_at_a_time();
    let (small, large) = (pool(1500), pool(9000));
    let (mut server, mut client) = memif_pair(&PortConfig::default(), &small);
    let sent = pattern(5000, 1);
    send_all(&mut client.tx[0], [frame(&large, &sent)]);
    let received = receive(&mut server.rx[0], 1);
    assert!(received[0].meta().segmented);
    assert_eq!(received[0].total_len(), 5000);
    assert_eq!(received[0].bytes(), &sent[..received[0].bytes().len()]);
    assert!(small.in_use() > 1);
    drop(received);
    unplug(server, client);
    assert_eq!((small.in_use(), large.in_use()), (0, 0));
}

#[test]
fn the_link_goes_down_with_the_peer() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let (server, client) = memif_pair(&PortConfig::default(), &pool);
    unplug(server, client);
}

#[test]
fn pcap_reads_and_writes_files() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let file = scratch("frames.pcap");
    let sent: Vec<_> = (0..5)
        .map(|seed| pattern(60 + usize::from(seed), seed))
        .collect();
    let device = format!("net_pcap{},tx_pcap={}", number(), file.display());
    let mut writer = start(&device, &PortConfig::default(), &pool);
    send_all(
        &mut writer.tx[0],
        sent.iter().map(|bytes| frame(&pool, bytes)),
    );
    drop(writer);
    let device = format!("net_pcap{},rx_pcap={}", number(), file.display());
    let mut reader = start(&device, &PortConfig::default(), &pool);
    let received = receive(&mut reader.rx[0], 5);
    for (frame, sent) in received.iter().zip(&sent) {
        assert_eq!(frame.bytes(), sent);
    }
    drop((received, reader));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn queues_are_what_the_device_has() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let config = PortConfig {
        rx_queues: 4,
        tx_queues: 4,
        ..PortConfig::default()
    };
    let device = format!(
        "net_pcap{},tx_pcap={}",
        number(),
        scratch("one.pcap").display()
    );
    let pcap = start(&device, &config, &pool);
    assert_eq!((pcap.rx.len(), pcap.tx.len()), (1, 1));
    let null = start(&format!("net_null{}", number()), &config, &pool);
    assert_eq!((null.rx.len(), null.tx.len()), (4, 4));
    let indexes: Vec<_> = null.rx.iter().map(|queue| queue.index()).collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
}

#[test]
fn rss_is_taken_where_there_is_and_reported_where_there_is_none() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let config = |mode| PortConfig {
        rx_queues: 2,
        tx_queues: 2,
        rss: Some(RssConfig {
            key: [0x6d; 40],
            mode,
        }),
        ..PortConfig::default()
    };
    let null = start(
        &format!("net_null{}", number()),
        &config(RssMode::Tuple),
        &pool,
    );
    let rss: &Rss = null.port.rss();
    assert!(rss.hardware);
    assert_eq!(rss.key, [0x6d; 40]);
    assert_eq!(rss.table.len(), 128);
    assert!(rss.table.chunks(2).all(|pair| pair == [0, 1]));
    // The driver offers no choice of addresses.
    let null = start(
        &format!("net_null{}", number()),
        &config(RssMode::Source),
        &pool,
    );
    assert!(!null.port.rss().hardware);
    let (memif, client) = memif_pair(&config(RssMode::Tuple), &pool);
    assert_eq!(memif.rx.len(), 2);
    let rss = memif.port.rss();
    assert!(!rss.hardware && rss.key.is_empty() && rss.table.is_empty());
    unplug(memif, client);
}

#[test]
fn devices_that_are_not_there_are_named() {
    let _one = one_at_a_time();
    let probe = |text: &str| Device::probe(eal(), &text.parse().unwrap()).unwrap_err();
    assert_eq!(
        probe("0000:ff:1f.7").to_string(),
        "there is no PCI device 0000:ff:1f.7; `lspci -D` lists those that there are"
    );
    let unknown = probe("net_nonesuch0,a=b");
    assert!(matches!(unknown, DeviceError::Failed { .. }));
    let unknown = unknown.to_string();
    assert!(
        unknown.starts_with("device net_nonesuch0,a=b cannot be opened: "),
        "{unknown}"
    );
    assert_eq!(unknown.lines().count(), 1);
    let wrong = probe("net_memif0,role=nobody").to_string();
    assert!(
        wrong.contains("nobody") && wrong.lines().count() == 1,
        "{wrong}"
    );
    let missing = probe("net_af_packet0,iface=nonesuch").to_string();
    assert!(
        missing.contains("nonesuch") && missing.lines().count() == 1,
        "{missing}"
    );
}

#[test]
fn what_a_device_cannot_do_is_refused_before_it_starts() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let try_with = |config: &PortConfig| {
        Device::probe(eal(), &format!("net_ring{}", number()).parse().unwrap())
            .unwrap()
            .start(config, &pool)
            .map(|_| ())
            .unwrap_err()
    };
    let jumbo = try_with(&PortConfig {
        mtu: 9000,
        ..PortConfig::default()
    });
    assert!(
        matches!(jumbo, PortError::BuffersTooSmall { .. }),
        "{jumbo}"
    );
    let tiny = try_with(&PortConfig {
        mtu: 60,
        ..PortConfig::default()
    });
    assert!(matches!(tiny, PortError::Mtu { least: 68, .. }), "{tiny}");
    let none = try_with(&PortConfig {
        rx_queues: 0,
        ..PortConfig::default()
    });
    assert!(matches!(none, PortError::NoQueues(_)), "{none}");
}

#[test]
fn absurd_pools_are_refused() {
    let create = |mbufs, largest_frame| {
        let config = PoolConfig {
            mbufs,
            largest_frame,
            numa_node: None,
        };
        Pool::create(eal(), &config).map(|_| ()).unwrap_err()
    };
    assert_eq!(create(0, 1522), PoolError::Size(0));
    assert_eq!(create(4096, 65_535), PoolError::FrameTooLarge(65_535));
    let error = create(90_000_000, 1522).to_string();
    assert!(
        error.starts_with("no memory for 90000000 packet buffers of 2048 bytes (20"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn dpdk_starts_once() {
    eal();
    let again = sluice_dpdk::Eal::init(&EalConfig {
        pages: sluice_dpdk::Pages::Ordinary,
        ..EalConfig::default()
    });
    assert_eq!(again.unwrap_err(), EalError::Again);
}
