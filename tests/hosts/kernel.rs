//! The host interface: programs of the machine that speak by the appliance's ports.

use std::process::{Command, Output};

use sluice_tests::lab::{INSIDE, Lab, OUTSIDE};
use sluice_tests::servers::Nginx;

use crate::get;

/// The namespace of the host interface of a lab: a name that a later run clears away.
pub(crate) fn namespace(lab: &Lab) -> String {
    format!("{}-host", lab.appliance().name())
}

/// Runs a program there.
pub(crate) fn inside(lab: &Lab, command: &[&str]) -> Output {
    Command::new("ip")
        .args(["netns", "exec", &namespace(lab), "timeout", "20"])
        .args(command)
        .output()
        .expect("cannot run ip")
}

#[test]
fn programs_speak_by_the_ports_and_strangers_only_where_they_are_let() {
    let mut lab = Lab::gateway("host");
    let (web, client) = (lab.inside(11), lab.outside(10));
    let nginx = Nginx::start(&web);
    std::fs::write(nginx.root().join("blob"), vec![b'k'; 1_000_000]).expect("cannot write");
    let sluice = lab.start(&format!(
        "[host]\nnamespace = \"{}\"\n\
         allow = [{{ from = \"outside\", protocol = \"tcp\", ports = 8179 }}]\n",
        namespace(&lab)
    ));
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let web_at = web.address().to_string();
    let web6_at = web.address6().to_string();

    // Out: the address that the server sees is the port's own.
    let from = inside(&lab, &["curl", "-sS", &format!("http://{web_at}/from")]);
    assert!(text(&from).starts_with(&format!("{INSIDE} ")), "{from:?}");
    let blob = inside(&lab, &["curl", "-sS", &format!("http://{web_at}/blob")]);
    assert_eq!(blob.stdout.len(), 1_000_000, "{blob:?}");
    for address in [&web_at, &web6_at] {
        let ping = inside(&lab, &["ping", "-c", "2", "-i", "0.2", "-W", "5", address]);
        assert!(ping.status.success(), "{ping:?}");
    }
    // Nobody listens: told at once, not after a timeout.
    let refused = inside(&lab, &["curl", "-sS", &format!("http://{web_at}:81/")]);
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");

    // In: only what is allowed.
    let serve = format!(
        "ip netns exec {} setpriv --pdeathsig KILL -- python3 -m http.server 8179 --bind {OUTSIDE}",
        namespace(&lab)
    );
    let mut server = Command::new("sh")
        .args(["-c", &format!("exec {serve}")])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("cannot run a server");
    sluice_tests::wait::expect("the host to answer a stranger", || {
        get(&client, &format!("{OUTSIDE}:8179"), "/").is_ok_and(|answer| answer.status == 200)
    });
    let denied = client.run(&[
        "curl",
        "-sS",
        "--max-time",
        "2",
        &format!("http://{OUTSIDE}:8180/"),
    ]);
    assert_eq!(denied.status.code(), Some(28), "{denied:?}");
    let _ = server.kill();
    let _ = server.wait();

    sluice.expect_dropped("not_listening", 1);
    let total = sluice.assert_accounted().total();
    assert!(total.punted > 0 && total.injected > 0, "{total:?}");
}
