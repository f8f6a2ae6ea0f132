use super::checked::addresses;
use super::*;
use crate::stream::{Check, StreamSpec};

const PORTS: &str = "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n\
                     [[port]]\nname = \"b\"\ndevice = \"net_null1\"\n";
const STREAM: &str = "[[stream]]\nfrom = \"a\"\nto = \"b\"\nsource = [\"10.0.0.1\"]\n\
                      destination = [\"10.0.0.2\"]\n";

fn error(text: &str) -> String {
    match Profile::parse(text).and_then(|profile| profile.streams()) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn streams(keys: &str) -> Vec<StreamSpec> {
    let profile = Profile::parse(&format!("{PORTS}{STREAM}{keys}")).unwrap();
    profile.streams().unwrap()
}

#[test]
fn a_short_profile_has_sensible_defaults() {
    let specs = streams("");
    let [spec] = &specs[..] else { panic!() };
    assert_eq!(spec.name, "stream0");
    assert_eq!((spec.from, spec.to, spec.reflect), (0, 1, None));
    assert_eq!(spec.sizes, [64]);
    assert_eq!(spec.space.flows(), 64_512);
    assert_eq!((spec.rate, spec.check), (None, Check::Count));
}

#[test]
fn profiles_that_make_no_sense_say_why() {
    for (keys, expected) in [
        ("flow = 3", "unknown field `flow`"),
        (
            "flows = 64513",
            "64513 are asked for; these addresses and ports make 64512",
        ),
        ("flows = 0", "0 are asked for"),
        ("source_ports = \"9-3\"", "neither a port, 53, nor a range"),
        ("rate = -1.0", "packets per second, above 0"),
        (
            "size = 63",
            "63 bytes: frames of this stream have 64 to 9018",
        ),
        (
            "size = 64\nprotocol = \"tcp\"\ncheck = \"stamp\"",
            "76 to 9018",
        ),
        ("size = \"imx\"", "a size in bytes, \"imix\", or"),
        ("tcp_flags = [\"syn\"]", "only with protocol = \"tcp\""),
        (
            "reflect_via = \"c\"",
            "there is no port \"c\"; there are: a, b",
        ),
    ] {
        let text = error(&format!("{PORTS}{STREAM}{keys}"));
        assert!(text.contains(expected), "{keys}: {text}");
    }
    let bad = STREAM.replace("10.0.0.1", "10.0.0.300");
    assert!(error(&format!("{PORTS}{bad}")).contains("\"10.0.0.300\" is none of"));
    let same = STREAM.replace("\"b\"", "\"a\"");
    assert!(error(&format!("{PORTS}{same}reflect = true")).contains("for ever"));
}

#[test]
fn streams_that_meet_must_be_stamped() {
    let two = format!("{PORTS}{STREAM}{STREAM}");
    assert!(error(&two).contains("stream0, stream1 come here and must be told apart"));
    let stamped = format!("{STREAM}check = \"stamp\"\n");
    let profile = Profile::parse(&format!("{PORTS}{stamped}{stamped}")).unwrap();
    assert_eq!(profile.streams().unwrap().len(), 2);
}

#[test]
fn imix_comes_in_its_proportions_and_mixed() {
    let specs = streams("size = \"imix\"");
    let sizes = &specs[0].sizes;
    let count = |size| sizes.iter().filter(|&&at| at == size).count();
    assert_eq!((count(64), count(594), count(1518)), (7, 4, 1));
    assert!(
        sizes.windows(3).all(|three| three != [64, 64, 64]),
        "{sizes:?}"
    );
    let weighted = streams("size = [[128, 1], [256, 3]]");
    assert_eq!(
        weighted[0]
            .sizes
            .iter()
            .filter(|&&size| size == 256)
            .count(),
        3
    );
    assert_eq!(mtu(&specs), 1500);
    assert_eq!(mtu(&streams("size = 9018")), 9000);
}

#[test]
fn address_ranges_have_three_forms() {
    let texts = ["10.0.0.1", "10.1.0.1 - 10.1.0.3", "10.2.0.9/30"].map(str::to_owned);
    let all = addresses("here", &texts).unwrap();
    let listed: Vec<String> = (0..all.len() as u32)
        .map(|at| all.at(at).to_string())
        .collect();
    assert_eq!(
        listed,
        [
            "10.0.0.1",
            "10.1.0.1",
            "10.1.0.2",
            "10.1.0.3",
            "10.2.0.8",
            "10.2.0.9",
            "10.2.0.10",
            "10.2.0.11"
        ]
    );
}
