use super::*;

fn probe(answer: Answer, rtt_ms: f64) -> ProbeView {
    ProbeView {
        rtt_ms: Some(rtt_ms),
        ..ProbeView::new(1, None, answer)
    }
}

#[test]
fn a_summary_counts_replies_of_the_destination_alone() {
    let mut summary = ProbeSummary::default();
    for (answer, ms) in [
        (Answer::Reply, 2.0),
        (Answer::Unreachable, 9.0),
        (Answer::Reply, 1.0),
        (Answer::Timeout, 0.0),
        (Answer::Reply, 1.5),
        (Answer::TimeExceeded, 0.1),
    ] {
        summary.add(&probe(answer, ms));
    }
    let wanted = ProbeSummary {
        sent: 6,
        received: 3,
        loss_percent: 50.0,
        min_ms: Some(1.0),
        avg_ms: Some(1.5),
        max_ms: Some(2.0),
        hops: None,
    };
    assert_eq!(summary, wanted);
}

#[test]
fn values_out_of_range_are_named() {
    let run = |text: &str| {
        let query = serde_json::from_str(text).expect("a query");
        Run::Ping(query).check().map_err(|(key, _)| key)
    };
    assert_eq!(run(r#"{"destination":"192.0.2.1"}"#), Ok(()));
    for (text, key) in [
        (r#"{"destination":"192.0.2.1","count":0}"#, "count"),
        (
            r#"{"destination":"192.0.2.1","interval_ms":1}"#,
            "interval_ms",
        ),
        (
            r#"{"destination":"192.0.2.1","timeout_ms":60000}"#,
            "timeout_ms",
        ),
        (r#"{"destination":"224.0.0.5"}"#, "destination"),
        (r#"{"destination":"255.255.255.255"}"#, "destination"),
        (r#"{"destination":"::"}"#, "destination"),
    ] {
        assert_eq!(run(text), Err(key), "{text}");
    }
}

#[test]
fn icmp_errors_have_names_in_both_families() {
    let (four, six) = ("192.0.2.1".parse(), "2001:db8::1".parse());
    let (four, six): (IpAddr, IpAddr) = (four.expect("v4"), six.expect("v6"));
    assert_eq!(echo::named(four, 3, 1, 0), "host unreachable");
    assert_eq!(echo::named(six, 1, 3, 0), "host unreachable");
    assert_eq!(echo::named(four, 3, 13, 0), "administratively prohibited");
    assert_eq!(echo::named(four, 3, 4, 1400), "too big, MTU 1400");
    assert_eq!(echo::named(six, 3, 0, 0), "TTL used up");
    assert_eq!(echo::named(four, 99, 7, 0), "ICMP type 99, code 7");
}
