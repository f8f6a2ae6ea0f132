//! Log lines in the clear, as rsyslog takes them in.

use sluice_tests::lab::Lab;
use sluice_tests::process::Process;
use sluice_tests::wait;

use crate::snat;

/// What rsyslog makes of a message: all parts of its head (RFC 5424), structured data and text.
const PARTS: &str = "%protocol-version% %syslogfacility-text% %syslogseverity-text% \
                     %timereported:::date-rfc3339% %hostname% %app-name% %procid% %msgid% \
                     %structured-data% %msg%\\n";

#[test]
fn log_lines_reach_rsyslog_by_streams_and_datagrams_and_it_finds_all_their_parts() {
    let lab = Lab::gateway("syslog-plain");
    let file = |name: &str| lab.directory().join(name).display().to_string();
    let (log, work, path) = (file("received.log"), file("rsyslog"), file("rsyslog.conf"));
    std::fs::create_dir(&work).expect("cannot make a directory");
    let config = format!(
        "global(workDirectory=\"{work}\")\n\
         module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"1514\" address=\"127.0.0.1\")\n\
         module(load=\"imudp\")\ninput(type=\"imudp\" port=\"1514\" address=\"127.0.0.1\")\n\
         template(name=\"parts\" type=\"string\" string=\"{PARTS}\")\n\
         action(type=\"omfile\" file=\"{log}\" template=\"parts\")\n"
    );
    std::fs::write(&path, config).expect("cannot write");
    let command = ["rsyslogd", "-n", "-f", &path, "-i", &file("rsyslog.pid")];
    let _receiver = Process::start(lab.appliance(), lab.directory(), "rsyslog", &command);
    let server = |transport: &str, facility: &str| {
        format!(
            "[[log.syslog]]\nname = \"{transport}\"\nserver = \"127.0.0.1:1514\"\n\
             transport = \"{transport}\"\nfacility = \"{facility}\"\n"
        )
    };
    let section = server("tcp", "local4") + &server("udp", "local5");
    let sluice = lab.start(&(section + &snat("")));
    let received = || std::fs::read_to_string(&log).unwrap_or_default();
    // Until it listens datagrams are lost.
    wait::expect("a line of either way", || {
        for body in ["{\"udp\":\"90s\"}", "{\"udp\":\"91s\"}"] {
            let path = "/api/v1/config/timeouts?comment=a+%22b%22+%5Bc%5D";
            let answer = sluice.ask("PATCH", path, body.as_bytes());
            assert_eq!(answer.expect("an answer").status, 200);
        }
        let said = received();
        ["local4", "local5"].iter().all(|facility| {
            let begin = format!("1 {facility} info 2");
            let mut lines = said.lines().filter(|line| line.starts_with(&begin));
            // Nothing of the comment has been taken for the end of the data.
            let data = "comment=\"a \\\"b\\\" [c\\]\"";
            lines.any(|line| line.contains(" lab sluice ") && line.contains(data))
        })
    });
    let state = sluice.json("/api/v1/logs/syslog");
    assert_eq!(state["servers"][0]["lost"], 0, "{state}");
}
