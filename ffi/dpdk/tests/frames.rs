//! Frames through a device that gives back what it is sent, and buffers that none may lose.

mod common;

use arrayvec::ArrayVec;
use common::{eal, frame, loopback, one_at_a_time, pattern, pool, receive, send_all};
use sluice_dataplane::io::{Checksum, DeviceId, Frame, Io, RxBurst, RxMeta, TxBurst};
use sluice_dpdk::{Device, Mbuf, Pool, PoolConfig, PortConfig, Started, WorkerIo, free_bulk};

#[test]
fn frames_come_back_byte_for_byte_in_order() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let Started {
        port,
        mut rx,
        mut tx,
    } = loopback(&pool);
    let lengths = [14, 60, 61, 64, 590, 1514, 1518, 1522];
    let sent: Vec<_> = (0..)
        .zip(lengths)
        .map(|(seed, len)| pattern(len, seed))
        .collect();
    send_all(&mut tx[0], sent.iter().map(|bytes| frame(&pool, bytes)));
    let received = receive(&mut rx[0], sent.len());
    for (frame, sent) in received.iter().zip(&sent) {
        assert_eq!(frame.bytes(), sent);
        assert_eq!(frame.total_len() as usize, sent.len());
        assert_eq!(frame.meta(), RxMeta::default());
        assert_eq!(frame.meta().ip_checksum, Checksum::Unknown);
        assert!(frame.is_sane());
    }
    let stats = port.stats();
    assert_eq!((stats.rx_packets, stats.tx_packets), (8, 8));
    assert_eq!(pool.in_use(), 8);
    drop(received);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn headers_are_added_and_cut_at_the_front() {
    let pool = pool(1500);
    let mut frame = frame(&pool, b"payload");
    assert!(frame.grow_front(4));
    frame.bytes_mut()[..4].copy_from_slice(b"tag+");
    assert_eq!(frame.bytes(), b"tag+payload");
    frame.cut_front(7);
    assert_eq!(frame.bytes(), b"load");
    frame.cut_front(5);
    assert_eq!(frame.bytes(), b"", "cutting more than there is cuts all");
    assert_eq!(frame.total_len(), 0);
    assert!(frame.is_sane());
}

#[test]
fn headroom_ends_where_the_buffer_begins() {
    let pool = pool(1500);
    let mut frame = frame(&pool, b"x");
    assert!(frame.grow_front(128));
    assert!(!frame.grow_front(1), "headroom is 128 bytes");
    assert_eq!(frame.bytes().len(), 129);
    assert_eq!(frame.total_len(), 129);
    assert!(frame.is_sane());
}

#[test]
fn tailroom_ends_where_the_buffer_ends() {
    let pool = pool(1500);
    let mut frame = frame(&pool, b"abcdef");
    assert!(frame.set_len(3));
    assert_eq!(frame.bytes(), b"abc");
    assert!(frame.set_len(2048));
    assert_eq!(frame.total_len(), 2048);
    assert!(!frame.set_len(2049));
    assert!(!frame.set_len(usize::MAX));
    assert_eq!(frame.bytes().len(), 2048, "unchanged");
    assert!(frame.is_sane());
}

#[test]
fn growth_that_no_length_can_hold_is_refused() {
    let pool = pool(1500);
    let mut frame = frame(&pool, b"");
    for n in [129, 65_535, 65_536, usize::MAX] {
        assert!(!frame.grow_front(n), "{n}");
    }
    assert_eq!(frame.bytes(), b"");
}

#[test]
fn jumbo_frames_fit_one_buffer() {
    let _one = one_at_a_time();
    let pool = pool(9000);
    assert_eq!(pool.room(), 9216);
    let Started {
        port: _port,
        mut rx,
        mut tx,
    } = loopback(&pool);
    let sent = pattern(9022, 3);
    send_all(&mut tx[0], [frame(&pool, &sent)]);
    let received = receive(&mut rx[0], 1);
    assert_eq!(received[0].bytes(), sent);
    assert!(!received[0].meta().segmented);
}

#[test]
fn an_exhausted_pool_gives_none_and_recovers() {
    let pool = Pool::create(eal(), &PoolConfig::for_mtu(1024, 1500)).unwrap();
    let mut all: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(all.len(), 1024);
    assert_eq!((pool.in_use(), pool.available()), (1024, 0));
    assert!(pool.alloc().is_none());
    all.pop();
    assert!(pool.alloc().is_some(), "and dropped at once");
    assert!(pool.alloc().is_some());
    drop(all);
    assert_eq!((pool.in_use(), pool.available()), (0, 1024));
}

#[test]
fn bulk_allocation_gives_all_that_is_asked_for_or_none() {
    let pool = Pool::create(eal(), &PoolConfig::for_mtu(1024, 1500)).unwrap();
    let mut held: Vec<Mbuf> = (0..1000).filter_map(|_| pool.alloc()).collect();
    assert_eq!(held.len(), 1000);
    let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
    assert_eq!(pool.alloc_bulk(&mut burst, 20), 20);
    assert!(
        burst
            .iter()
            .all(|frame| frame.is_sane() && frame.bytes().is_empty())
    );
    assert_eq!(pool.alloc_bulk(&mut burst, 10), 0, "4 are left");
    assert_eq!((burst.len(), pool.available()), (20, 4));
    held.clear();
    assert_eq!(pool.alloc_bulk(&mut burst, 64), 12, "as there is room for");
    assert!(burst.is_full());
    assert_eq!(pool.alloc_bulk(&mut burst, 1), 0);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn dropped_and_bulk_freed_frames_return_to_the_pool() {
    let pool = pool(1500);
    let mut burst: ArrayVec<Mbuf, 64> = (0..64).map(|_| frame(&pool, b"x")).collect();
    assert_eq!(pool.in_use(), 64);
    burst.truncate(40);
    assert_eq!(pool.in_use(), 40);
    free_bulk(&mut burst);
    assert!(burst.is_empty());
    assert_eq!(pool.in_use(), 0);
    free_bulk(&mut burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_a_full_device_refuses_stays_with_the_caller_in_order() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let Started {
        port: _port,
        mut rx,
        mut tx,
    } = loopback(&pool);
    let mut number = 0_u16;
    let mut burst: ArrayVec<Mbuf, 128> = ArrayVec::new();
    let mut taken = 0;
    // More than the ring between the ends holds.
    loop {
        while !burst.is_full() {
            burst.push(frame(&pool, &number.to_be_bytes()));
            number += 1;
        }
        let sent = tx[0].send(&mut burst);
        taken += sent;
        assert_eq!(burst.len(), 128 - sent);
        if sent < 128 {
            break;
        }
    }
    assert_eq!(pool.in_use() as usize, taken + burst.len());
    let sequence = |frames: &[Mbuf]| -> Vec<u16> {
        let number = |frame: &Mbuf| u16::from_be_bytes(frame.bytes().try_into().unwrap());
        frames.iter().map(number).collect()
    };
    let rest = sequence(&burst);
    assert_eq!(rest, (taken as u16..number).collect::<Vec<_>>());
    let received = receive(&mut rx[0], taken);
    assert_eq!(sequence(&received), (0..taken as u16).collect::<Vec<_>>());
    drop((received, burst));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn reception_appends_and_never_overruns_the_burst() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let Started {
        port: _port,
        mut rx,
        mut tx,
    } = loopback(&pool);
    send_all(&mut tx[0], (0..80).map(|seed| frame(&pool, &[seed])));
    let mut burst: RxBurst<Mbuf> = ArrayVec::new();
    burst.extend((0..50).map(|_| frame(&pool, b"own")));
    assert_eq!(rx[0].receive(&mut burst), 14);
    assert_eq!(burst[49].bytes(), b"own");
    assert_eq!(burst[50].bytes(), [0]);
    assert_eq!(burst[63].bytes(), [13]);
    assert_eq!(rx[0].receive(&mut burst), 0, "it is full");
    burst.clear();
    assert_eq!(rx[0].receive(&mut burst), 64);
    burst.clear();
    assert_eq!(rx[0].receive(&mut burst), 2);
    burst.clear();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_port_closes_after_its_last_queue() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let name = format!("net_null{}", common::number());
    let Started { port, rx, mut tx } = common::start(&name, &PortConfig::default(), &pool);
    drop((port, rx));
    send_all(&mut tx[0], (0..9).map(|seed| frame(&pool, &[seed])));
    let again = Device::probe(eal(), &name.parse().unwrap()).unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("device {name} is there already; each may be given once")
    );
    drop(tx);
    assert_eq!(pool.in_use(), 0);
    let Started { port, .. } = common::start(&name, &PortConfig::default(), &pool);
    assert_eq!(port.info().name, name, "closed, its name is free again");
}

#[test]
fn a_worker_sees_its_own_queues_only() {
    let _one = one_at_a_time();
    let pool = pool(1500);
    let Started {
        port: _a,
        rx,
        tx: mut a,
    } = loopback(&pool);
    let Started {
        port: _b,
        rx: mut b,
        tx,
    } = loopback(&pool);
    let mut io = WorkerIo::new(pool);
    let (first, second, neither) = (DeviceId(0), DeviceId(3), DeviceId(1));
    io.add_rx(first, rx);
    for queue in tx {
        assert!(io.set_tx(second, queue).is_none());
    }
    assert!(io.can_tx(second) && !io.can_tx(first) && !io.can_tx(neither));
    assert!(!io.can_tx(DeviceId(9)));

    send_all(&mut a[0], [frame(&pool, b"in")]);
    let mut burst = RxBurst::new();
    for empty in [second, neither, DeviceId(9)] {
        io.rx(empty, &mut burst);
        assert!(burst.is_empty());
    }
    io.rx(first, &mut burst);
    assert_eq!(burst[0].bytes(), b"in");

    let mut out: TxBurst<Mbuf> = burst.into_iter().collect();
    io.tx(first, &mut out);
    assert_eq!(out.len(), 1, "without a queue nothing is taken");
    io.tx(second, &mut out);
    assert!(out.is_empty());
    assert_eq!(receive(&mut b[0], 1)[0].bytes(), b"in");

    let mut own: TxBurst<Mbuf> = (0..3).filter_map(|_| io.alloc()).collect();
    assert_eq!((own.len(), pool.in_use()), (3, 3));
    io.free(&mut own);
    assert_eq!((own.len(), pool.in_use()), (0, 0));
}
