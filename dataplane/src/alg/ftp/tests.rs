use proptest::prelude::*;

use super::*;

fn ready() -> Talk {
    let mut talk = Talk::default();
    talk.server(b"220 ready\r\n");
    talk
}

fn one(finds: &Finds) -> (usize, usize, Form, Option<String>, u16) {
    assert_eq!(finds.len(), 1, "{finds:?}");
    let found = finds[0];
    let address = found.address.map(|address| address.to_string());
    (found.at, found.len, found.form, address, found.port)
}

#[test]
fn each_way_to_name_an_endpoint_is_read() {
    let mut talk = ready();
    let port = talk.client(b"PORT 10,0,0,5,4,210\r\n");
    let ip = |text: &str| Some(text.to_owned());
    assert_eq!(one(&port), (5, 14, Form::Port, ip("10.0.0.5"), 1234));
    let eprt = talk.client(b"eprt |2|2001:db8::5|40000|\r\n");
    assert_eq!(one(&eprt), (5, 21, Form::Eprt, ip("2001:db8::5"), 40000));
    talk.client(b"PASV\r\n");
    let pasv = talk.server(b"227 Entering Passive Mode (10,0,0,9,200,1).\r\n");
    assert_eq!(one(&pasv), (27, 14, Form::Pasv, ip("10.0.0.9"), 51201));
    talk.client(b"PASV\r\n");
    let bare = talk.server(b"227 =10,0,0,9,200,1\n");
    assert_eq!(one(&bare).4, 51201, "RFC 1123 4.1.2.6");
    talk.client(b"EPSV 1\r\n");
    let epsv = talk.server(b"229 Entering Extended Passive Mode (|||6446|)\r\n");
    assert_eq!(one(&epsv), (39, 4, Form::Epsv, None, 6446));
}

#[test]
fn replies_that_nobody_asked_for_are_passed_over() {
    let pasv = b"227 Entering Passive Mode (10,0,0,9,200,1).\r\n";
    let mut talk = ready();
    assert!(talk.server(pasv).is_empty());
    talk.client(b"EPSV\r\n");
    assert!(talk.server(pasv).is_empty());
    talk.client(b"PASV\r\n");
    assert_eq!(talk.server(pasv).len(), 1);
    assert!(talk.server(pasv).is_empty(), "asked once, answered once");
}

#[test]
fn what_stands_within_a_reply_of_many_lines_is_no_reply() {
    let mut talk = ready();
    talk.client(b"PASV\r\n");
    let many = b"211-Status\r\n227 Entering (10,0,0,9,0,22)\r\n211-more\r\n211 End\r\n";
    assert!(talk.server(many).is_empty());
    let then = talk.server(b"227 Entering Passive Mode (10,0,0,9,200,1).\r\n");
    assert_eq!(then.len(), 1);
}

#[test]
fn a_line_in_two_segments_is_passed_over_and_the_next_one_read() {
    let mut talk = ready();
    let whole = b"PORT 10,0,0,5,4,210\r\nPORT 10,0,0,5,4,211\r\n";
    for cut in 1..20 {
        let mut talk = talk;
        assert!(talk.client(&whole[..cut]).is_empty());
        let rest = talk.client(&whole[cut..]);
        assert_eq!((one(&rest).0, one(&rest).4), (26 - cut, 1235));
    }
    // Cut behind the line, both are read.
    assert_eq!(talk.client(&whole[..21]).len(), 1);
    assert_eq!(talk.client(&whole[21..]).len(), 1);
}

#[test]
fn only_ftp_is_read() {
    for first in [
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nPORT 10,0,0,5,4,210\r\n",
        "GET /\r\nPORT 10,0,0,5,4,210\r\n",
        "EHLO x\r\nMAILFROM\r\nPORT 10,0,0,5,4,210\r\n",
        "\x16\x03\x01\r\nPORT 10,0,0,5,4,210\r\n",
        "NICK: me\r\nPORT 10,0,0,5,4,210\r\n",
    ] {
        let mut talk = ready();
        assert!(talk.client(first.as_bytes()).is_empty(), "{first}");
        assert!(talk.is_blind(), "{first}");
        assert!(talk.client(b"PORT 10,0,0,5,4,210\r\n").is_empty());
    }
    let mut talk = Talk::default();
    assert!(talk.client(b"PORT 10,0,0,5,4,210\r\n").is_empty());
    assert!(talk.is_blind(), "the server speaks first");
    let mut talk = Talk::default();
    talk.server(b"SSH-2.0-OpenSSH\r\n");
    assert!(talk.is_blind());
}

#[test]
fn an_abort_with_telnets_synch_does_not_end_reading() {
    let mut talk = ready();
    talk.client(b"\xff\xf4\xff\xf2ABOR\r\n");
    assert_eq!(talk.client(b"PORT 10,0,0,5,4,210\r\n").len(), 1);
}

#[test]
fn reading_ends_when_tls_is_agreed_on_and_not_before() {
    let mut talk = ready();
    talk.client(b"AUTH TLS\r\n");
    talk.server(b"502 not here\r\n");
    talk.server(b"234 what\r\n");
    assert!(!talk.is_blind());
    talk.client(b"AUTH TLS\r\n");
    talk.server(b"234 Proceed with negotiation.\r\n");
    assert!(talk.is_blind());
}

#[test]
fn what_is_no_endpoint_is_none() {
    for line in [
        "PORT 10,0,0,5,4\r\n",
        "PORT 10,0,0,256,4,1\r\n",
        "PORT 10,0,0,5,4,1,9\r\n",
        "PORT 10,0,0,5,4,0001\r\n",
        "PORT -1,0,0,5,4,1\r\n",
        "PORT\r\n",
        "EPRT |1|2001:db8::5|40000|\r\n",
        "EPRT |2|10.0.0.5|40000|\r\n",
        "EPRT |1|10.0.0.5|70000|\r\n",
        "EPRT |1|10.0.0.5|40000\r\n",
        "EPRT |1|10.0.0.5|40000||\r\n",
        "EPRT |1|10.0.0.5|4e4|\r\n",
        "EPRT\r\n",
    ] {
        assert!(ready().client(line.as_bytes()).is_empty(), "{line}");
    }
    for line in [
        "229 (|||6446)\r\n",
        "229 (||6446|)\r\n",
        "229 (|||65536|)\r\n",
        "229 |||6446|\r\n",
        "229 (\r\n",
    ] {
        let mut talk = ready();
        talk.client(b"EPSV\r\n");
        assert!(talk.server(line.as_bytes()).is_empty(), "{line}");
    }
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "PORT ",
        "EPRT ",
        "PASV",
        "EPSV",
        "227 ",
        "229 ",
        "211-",
        "211 ",
        "220 ",
        "10,0,0,5,4,1",
        "|1|10.0.0.5|2000|",
        "(|||2000|)",
        "(",
        ")",
        "|",
        ",",
        "\r\n",
        "\n",
        "\r",
        " ",
        "9",
        "\u{ff}",
        "AUTH TLS",
        "234 ok",
    ]);
    let some = prop_oneof![
        word.prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(some, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    /// Whatever comes, in whatever pieces, what is found lies within it and means what it says.
    #[test]
    fn garbage_never_leads_out_of_the_segment(
        pieces in prop::collection::vec((any::<bool>(), words()), 0..8),
    ) {
        let mut talk = ready();
        for (client, data) in pieces {
            let finds = if client { talk.client(&data) } else { talk.server(&data) };
            let mut end = 0;
            for found in finds {
                prop_assert!(found.at >= end && found.len > 0);
                end = found.at + found.len;
                prop_assert!(end <= data.len());
                let text = std::str::from_utf8(&data[found.at..end]).unwrap();
                if found.form == Form::Epsv {
                    prop_assert_eq!(text.parse::<u16>().unwrap(), found.port);
                }
                prop_assert!(!text.contains(['\r', '\n']));
            }
        }
    }

    /// However a dialogue is cut, nothing is found that is not found in it whole.
    #[test]
    fn pieces_hold_no_more_than_the_whole(data in words(), cuts in prop::collection::vec(0_usize..200, 0..4)) {
        let mut all = vec![];
        let mut talk = ready();
        // More than `MOST` in one go are passed over, so the whole is read by lines.
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            all.extend(talk.client(line).iter().map(|found| (found.form, found.port)));
        }
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (data.len() + 1)).collect();
        cuts.extend([0, data.len()]);
        cuts.sort_unstable();
        let mut talk = ready();
        for pair in cuts.windows(2) {
            for found in talk.client(&data[pair[0]..pair[1]]) {
                prop_assert!(all.contains(&(found.form, found.port)));
            }
        }
    }
}
