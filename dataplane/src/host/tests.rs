use super::*;

fn tuple(proto: u8, dport: u16) -> Tuple {
    Tuple {
        proto,
        src: "192.0.2.7".parse().unwrap(),
        dst: "192.0.2.1".parse().unwrap(),
        sport: 4000,
        dport,
    }
}

#[test]
fn parcels_go_round_and_none_is_lost() {
    let (host, worker) = queues();
    assert!(
        worker.blank().is_none() && !host.inject(&[0x45]),
        "none yet"
    );
    host.stock(100);
    for _ in 0..3 * QUEUE {
        let mut parcel = worker.blank().expect("a parcel");
        assert!(!parcel.fill(PortId(1), &[0; 101]));
        assert!(parcel.fill(PortId(7), b"up"));
        worker.punt(parcel);
        let parcel = host.receive().expect("it was punted");
        assert_eq!((parcel.port(), parcel.bytes()), (PortId(7), &b"up"[..]));
        host.give_back(parcel);
        assert!(host.inject(b"down") && !host.inject(&[0; 101]));
        let parcel = worker.receive().expect("it was injected");
        assert_eq!(parcel.bytes(), b"down");
        worker.give_back(parcel);
    }
    for _ in 0..QUEUE {
        assert!(host.inject(b"down"));
        worker.punt(worker.blank().expect("a parcel"));
    }
    assert!(!host.inject(b"down") && worker.blank().is_none());
}

#[test]
fn what_is_not_on_the_list_is_not_admitted() {
    let allow = Allow {
        from: Some(1),
        source: vec!["192.0.2.0/29".parse().unwrap()].into(),
        proto: Some(proto::TCP),
        ports: vec![(22, 22), (179, 180)],
    };
    let policy = HostPolicy {
        allow: vec![allow],
        strangers_per_s: 1,
    };
    assert!(policy.admits(1, &tuple(proto::TCP, 180)));
    assert!(!policy.admits(0, &tuple(proto::TCP, 180)));
    assert!(!policy.admits(1, &tuple(proto::TCP, 181)));
    assert!(!policy.admits(1, &tuple(proto::UDP, 180)));
    let far = Tuple {
        src: "192.0.2.8".parse().unwrap(),
        ..tuple(proto::TCP, 22)
    };
    assert!(!policy.admits(1, &far));
}

#[test]
fn only_ip_packets_become_frames() {
    assert_eq!(ethernet_header(&[]), None);
    assert_eq!(ethernet_header(&[0x75]), None);
    assert_eq!(
        ethernet_header(&[0x45]).map(|h| [h[12], h[13]]),
        Some([8, 0])
    );
    assert_eq!(
        ethernet_header(&[0x60]).map(|h| [h[12], h[13]]),
        Some([0x86, 0xdd])
    );
}
