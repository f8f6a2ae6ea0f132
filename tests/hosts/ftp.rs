//! FTP between curl or lftp and vsftpd, in all four ways to name an endpoint.

use sluice_tests::ftpd::Vsftpd;
use sluice_tests::lab::{Host, Lab};
use sluice_tests::sluice::Sluice;

use crate::{NAT, VIP, VIP6, snat};

const ALG: &str = "[alg]\nftp_ports = [21]\n";
/// What curl is told, for each way. It takes addresses from replies as any client did once.
const WAYS: [(&str, &str); 4] = [
    ("EPSV", ""),
    ("PASV", "--disable-epsv --no-ftp-skip-pasv-ip"),
    ("EPRT", "-P -"),
    ("PORT", "-P - --disable-eprt"),
];
const SIZE: usize = 3_000_000;

/// Fetches a file and brings one, in this way.
fn fetch_and_bring(client: &Host, server: &Vsftpd, at: &str, (way, args): (&str, &str)) {
    let curl = format!("curl -gsS --fail --max-time 20 {args}");
    let size = client.sh(&format!("{curl} ftp://{at}/blob | wc -c"));
    assert_eq!(size.trim(), SIZE.to_string(), "{way}");
    let (source, name) = (
        client.directory().join("blob"),
        format!("{way}-{}", at.len()),
    );
    std::fs::write(&source, vec![b'u'; SIZE]).expect("cannot write");
    // vsftpd lets nobody overwrite.
    let _ = std::fs::remove_file(server.root().join("in").join(&name));
    client.sh(&format!(
        "{curl} -T {} ftp://{at}/in/{name}",
        source.display()
    ));
    let brought = std::fs::metadata(server.root().join("in").join(&name));
    assert_eq!(
        brought.map(|file| file.len()).ok(),
        Some(SIZE as u64),
        "{way}"
    );
}

fn serve(host: &Host) -> Vsftpd {
    let server = Vsftpd::start(host);
    std::fs::write(server.root().join("blob"), vec![b'd'; SIZE]).expect("cannot write");
    server
}

fn fails(client: &Host, at: &str, args: &str) {
    let script = format!("curl -gsS --fail --max-time 4 {args} ftp://{at}/blob >/dev/null");
    let end = client.run(&["sh", "-c", &script]);
    assert!(!end.status.success(), "{args} to {at} needs no gateway");
}

fn counted(sluice: &Sluice, name: &str) -> u64 {
    sluice.assert_accounted();
    let stats = sluice.json("/api/v1/stats");
    let workers = stats["workers"].as_array().expect("workers");
    workers
        .iter()
        .filter_map(|worker| worker[name].as_u64())
        .sum()
}

#[test]
fn ftp_through_snat_in_all_ways() {
    let mut lab = Lab::gateway("ftpsnat");
    let (client, server) = (lab.inside(11), lab.outside(10));
    let ftpd = serve(&server);
    let mut sluice = lab.start(&(snat("") + ALG));
    for way in WAYS {
        fetch_and_bring(&client, &ftpd, "198.51.100.10", way);
    }
    // Two each, fetched and brought, in active mode.
    assert!(counted(&sluice, "alg_rewritten") >= 4);
    assert!(counted(&sluice, "alg_opened") >= 4);
    // Many transfers by one control connection, each of them moving its numbers on.
    let many = ftpd.root().join("many");
    std::fs::create_dir(&many).expect("cannot make a directory");
    for file in 0..12 {
        std::fs::write(many.join(format!("file{file}")), vec![b'm'; 10_000 * file])
            .expect("a file");
    }
    let copy = client.directory().join("copy");
    for passive in ["off", "on"] {
        let _ = std::fs::remove_dir_all(&copy);
        client.ok(&[
            "lftp",
            "-c",
            &format!(
                "set ftp:passive-mode {passive}; set net:max-retries 1; set net:timeout 8; \
                 set cmd:fail-exit yes; open ftp://198.51.100.10; mirror many {}",
                copy.display()
            ),
        ]);
        for file in 0..12 {
            let got = std::fs::metadata(copy.join(format!("file{file}")));
            assert_eq!(
                got.map(|got| got.len()).ok(),
                Some(10_000 * file),
                "passive {passive}"
            );
        }
    }
    // Without the gateway the server is told an address that it cannot reach.
    sluice.reload_and_wait(ALG, "");
    fails(&client, "198.51.100.10", "-P - --disable-eprt");
    fetch_and_bring(&client, &ftpd, "198.51.100.10", WAYS[0]);
}

#[test]
fn ftp_to_a_virtual_server_in_all_ways_and_with_full_nat() {
    let mut lab = Lab::gateway("ftpvip");
    let (client, server) = (lab.outside(10), lab.inside(11));
    server
        .namespace()
        .ip(&["route", "add", &format!("{NAT}/32"), "via", "10.1.0.1"]);
    let ftpd = serve(&server);
    let pool = format!(
        "[[pool]]\nname = \"ftp\"\n[[pool.server]]\nname = \"a\"\naddress = \"{}\"\nport = 21\n\
         state = \"up\"\n[[pool]]\nname = \"ftp6\"\n[[pool.server]]\nname = \"a\"\n\
         address = \"{}\"\nport = 21\nstate = \"up\"\n\
         [[snat_pool]]\nname = \"public\"\naddresses = [\"{NAT}\"]\n",
        server.address(),
        server.address6()
    );
    let vip = |name: &str, address: &str, settings: &str| {
        format!(
            "[[virtual_server]]\nname = \"{name}\"\naddress = \"{address}\"\nport = 21\n\
             protocol = \"tcp\"\npool = \"{name}\"\n{settings}\n"
        )
    };
    let plain = vip("ftp", VIP, "mode = \"dnat\"");
    let rest = pool + &plain + &vip("ftp6", VIP6, "mode = \"dnat\"") + ALG;
    let mut sluice = lab.start(&rest);
    for way in WAYS {
        fetch_and_bring(&client, &ftpd, VIP, way);
    }
    for way in [WAYS[0], WAYS[2]] {
        fetch_and_bring(&client, &ftpd, &format!("[{VIP6}]"), way);
    }
    let full = vip("ftp", VIP, "mode = \"fullnat\"\nsnat_pool = \"public\"");
    sluice.reload_and_wait(&plain, &full);
    for way in WAYS {
        fetch_and_bring(&client, &ftpd, VIP, way);
    }
    sluice.reload_and_wait(ALG, "");
    fails(&client, VIP, "");
}

#[test]
fn ftp_through_a_closed_firewall_over_ipv4_and_ipv6() {
    let mut lab = Lab::gateway("ftpwall");
    let (client, server) = (lab.inside(11), lab.outside(10));
    let ftpd = serve(&server);
    // The control connection, and nothing else.
    let rule = "[firewall]\nopen = []\n[[firewall.rule]]\nname = \"ftp\"\nfrom = \"inside\"\n\
                to = \"outside\"\nprotocol = \"tcp\"\nports = 21\naction = \"allow\"\n";
    let mut sluice = lab.start(&(rule.to_owned() + ALG));
    for way in WAYS {
        fetch_and_bring(&client, &ftpd, "198.51.100.10", way);
    }
    for way in [WAYS[0], WAYS[2]] {
        fetch_and_bring(&client, &ftpd, &format!("[{}]", server.address6()), way);
    }
    assert_eq!(counted(&sluice, "alg_rewritten"), 0);
    sluice.reload_and_wait(ALG, "");
    fails(&client, "198.51.100.10", "");
    fails(&client, "198.51.100.10", "-P -");
}
