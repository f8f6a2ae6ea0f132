use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// fe80::1 solicits 2001:db8::9, as Linux does.
fn solicitation() -> ([u64; 4], [u8; 32]) {
    let mut message = [
        135, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1,
        2, 0, 0, 0, 0, 1,
    ];
    let addrs = addrs(ip("fe80::1"), ip("ff02::1:ff00:9"));
    icmp6::seal(addrs, &mut message);
    (addrs, message)
}

/// The message with some bytes changed and sealed again.
fn changed(addrs: [u64; 4], message: &[u8], at: usize, bytes: &[u8]) -> Option<Message> {
    let mut message = message.to_vec();
    message[at..at + bytes.len()].copy_from_slice(bytes);
    icmp6::seal(addrs, &mut message);
    Message::parse(addrs, HOP_LIMIT, &message)
}

#[test]
fn a_solicitation_off_the_wire() {
    let (addrs, bytes) = solicitation();
    let message = Message::NeighbourSolicitation {
        target: ip("2001:db8::9"),
        source_mac: Some(MAC),
    };
    assert_eq!(Message::parse(addrs, 255, &bytes), Some(message));
    let mut out = [0; MAX_LEN];
    assert_eq!(message.write(addrs, &mut out), Some(32));
    assert_eq!(out[..32], bytes);
    assert_eq!(message.write(addrs, &mut out[..31]), None);
}

#[test]
fn a_message_from_afar_or_damaged_is_ignored() {
    let (addrs, bytes) = solicitation();
    assert_eq!(Message::parse(addrs, 254, &bytes), None);
    for at in 0..bytes.len() {
        let mut damaged = bytes;
        damaged[at] ^= 0x10;
        assert_eq!(Message::parse(addrs, 255, &damaged), None, "byte {at}");
    }
    assert_eq!(changed(addrs, &bytes, 1, &[1]), None, "code");
    assert_eq!(changed(addrs, &bytes, 8, &[0xff]), None, "multicast target");
}

#[test]
fn every_truncation_is_ignored_even_with_a_checksum_that_fits() {
    let (addrs, bytes) = solicitation();
    for len in (0..bytes.len()).filter(|len| *len != 24) {
        let mut cut = bytes[..len].to_vec();
        icmp6::seal(addrs, &mut cut);
        assert_eq!(Message::parse(addrs, 255, &cut), None, "{len}");
    }
}

#[test]
fn impossible_options_spoil_the_message() {
    let (addrs, bytes) = solicitation();
    for (option, why) in [
        (&[1, 0][..], "no length"),
        (&[1, 2], "past the end"),
        (&[200, 255], "an unknown one past the end"),
        (&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "broadcast MAC"),
        (&[1, 1, 0, 0, 0, 0, 0, 0], "zero MAC"),
    ] {
        assert_eq!(changed(addrs, &bytes, 24, option), None, "{why}");
    }
    assert_eq!(
        changed(addrs, &bytes, 24, &[200, 1]),
        Some(Message::NeighbourSolicitation {
            target: ip("2001:db8::9"),
            source_mac: None
        }),
        "an unknown one is passed over"
    );
}

#[test]
fn duplicate_address_detection_has_no_source() {
    let message = Message::NeighbourSolicitation {
        target: ip("2001:db8::9"),
        source_mac: None,
    };
    let mut out = [0; MAX_LEN];
    let to_group = addrs(Ipv6Addr::UNSPECIFIED, ip("ff02::1:ff00:9"));
    let len = message.write(to_group, &mut out).unwrap();
    assert_eq!(len, 24);
    assert_eq!(Message::parse(to_group, 255, &out[..len]), Some(message));

    let unicast = addrs(Ipv6Addr::UNSPECIFIED, ip("2001:db8::9"));
    let len = message.write(unicast, &mut out).unwrap();
    assert_eq!(Message::parse(unicast, 255, &out[..len]), None);

    let with_mac = Message::NeighbourSolicitation {
        target: ip("2001:db8::9"),
        source_mac: Some(MAC),
    };
    let len = with_mac.write(to_group, &mut out).unwrap();
    assert_eq!(Message::parse(to_group, 255, &out[..len]), None);
}

#[test]
fn advertisements_and_router_messages_round_trip() {
    let ours = addrs(ip("fe80::1"), ip("fe80::2"));
    for message in [
        Message::NeighbourAdvertisement {
            target: ip("2001:db8::9"),
            target_mac: Some(MAC),
            router: true,
            solicited: true,
            replace: false,
        },
        Message::NeighbourAdvertisement {
            target: ip("2001:db8::9"),
            target_mac: None,
            router: false,
            solicited: false,
            replace: true,
        },
        Message::RouterSolicitation {
            source_mac: Some(MAC),
        },
        Message::RouterAdvertisement {
            hop_limit: 64,
            lifetime: 1800,
            source_mac: Some(MAC),
            mtu: Some(9000),
        },
        Message::RouterAdvertisement {
            hop_limit: 0,
            lifetime: 0,
            source_mac: None,
            mtu: None,
        },
    ] {
        let mut out = [0; MAX_LEN];
        let len = message.write(ours, &mut out).unwrap();
        assert_eq!(Message::parse(ours, 255, &out[..len]), Some(message));
    }
}

#[test]
fn the_flags_of_an_advertisement_are_where_rfc_4861_has_them() {
    let ours = addrs(ip("2001:db8::9"), ip("2001:db8::1"));
    let mut out = [0; MAX_LEN];
    let message = Message::NeighbourAdvertisement {
        target: ip("2001:db8::9"),
        target_mac: Some(MAC),
        router: false,
        solicited: true,
        replace: true,
    };
    message.write(ours, &mut out).unwrap();
    assert_eq!((out[0], out[4]), (136, 0x60));
    assert_eq!(out[24..32], [2, 1, 2, 0, 0, 0, 0, 1]);
}

#[test]
fn what_contradicts_itself_is_ignored() {
    let mut out = [0; MAX_LEN];
    // A solicited advertisement to everybody.
    let to_all = addrs(ip("2001:db8::9"), ip("ff02::1"));
    let message = Message::NeighbourAdvertisement {
        target: ip("2001:db8::9"),
        target_mac: Some(MAC),
        router: false,
        solicited: true,
        replace: true,
    };
    let len = message.write(to_all, &mut out).unwrap();
    assert_eq!(Message::parse(to_all, 255, &out[..len]), None);
    // A router that is not on this link.
    let global = addrs(ip("2001:db8::9"), ip("ff02::1"));
    let message = Message::RouterAdvertisement {
        hop_limit: 64,
        lifetime: 1800,
        source_mac: None,
        mtu: None,
    };
    let len = message.write(global, &mut out).unwrap();
    assert_eq!(Message::parse(global, 255, &out[..len]), None);
    // A MAC address for nobody.
    let nobody = addrs(Ipv6Addr::UNSPECIFIED, ip("ff02::2"));
    let message = Message::RouterSolicitation {
        source_mac: Some(MAC),
    };
    let len = message.write(nobody, &mut out).unwrap();
    assert_eq!(Message::parse(nobody, 255, &out[..len]), None);
}

#[test]
fn group_addresses_are_made_as_neighbours_expect_them() {
    let group = solicited_node(ip("2001:db8::1234:5678"));
    assert_eq!(group, ip("ff02::1:ff34:5678"));
    assert_eq!(
        multicast_mac(group),
        MacAddr([0x33, 0x33, 0xff, 0x34, 0x56, 0x78])
    );
}
