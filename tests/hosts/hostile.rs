//! Frames that no sane host sends.

use sluice_tests::lab::{Lab, OUTSIDE};
use sluice_tests::servers::Nginx;

use crate::{NAT, VIP, get, pool, snat, virtual_server};

#[test]
fn garbage_is_dropped_by_reason_while_service_goes_on() {
    let mut lab = Lab::gateway("garbage");
    let client = lab.outside(10);
    let attacker = lab.outside(66);
    let web = lab.inside(11);
    let _nginx = Nginx::start(&web);
    let sluice = lab.start(
        &(snat("")
            + &pool(&[(&web, 1)])
            + &virtual_server("mode = \"dnat\"\nscheduler = \"round_robin\"")),
    );
    assert!(get(&client, VIP, "/").is_ok());
    let before = sluice.stats().total();
    let sent: u64 = attacker
        .python("garbage.py", &["eth0", OUTSIDE, VIP, NAT, "20000"])
        .trim()
        .parse()
        .expect("the number of frames");
    for _ in 0..20 {
        assert!(get(&client, VIP, "/").is_ok(), "service stopped");
    }
    let after = sluice.assert_accounted().total();
    assert!(after.drops() > before.drops() + sent / 4, "{after:#?}");
    assert!(
        after.dropped.values().filter(|count| **count > 0).count() >= 6,
        "{after:#?}"
    );
    assert_eq!(
        after.dropped.get("internal").copied().unwrap_or(0),
        0,
        "{after:#?}"
    );
}
