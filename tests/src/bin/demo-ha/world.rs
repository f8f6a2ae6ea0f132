//! The demo's networks, hosts and two appliances.

use std::process::Child;

use sluice_tests::lab::{Host, Lab, Twin};
use sluice_tests::servers::Nginx;
use sluice_tests::sluice::Sluice;
use sluice_tests::wait;

/// What is downloaded from where.
pub(crate) const SERVER: &str = "198.51.100.10";
/// How long that is.
pub(crate) const BYTES: u64 = 24_000_000;

/// Two groups: hosts inside send by the first node, those outside answer by the second.
const GROUPS: [(&str, &str); 2] = [("requests", "10.1.0.254"), ("replies", "198.51.100.254")];

pub(crate) const PICTURE: &str = "\
Sluice demo: two appliances, one table

                    requests      node 1      requests
  client 10.1.0.11 ===========>  Sluice  ===========>  server 198.51.100.10
                   <===========  Sluice  <===========
                    replies       node 2      replies
";

const SYSTEM: &str = "workers = [0, 1]\nidle = \"backoff\"\nsessions = 16384\nsessions_v6 = 1024\n\
                      memory_mb = 160\npacket_buffers = 8192\n";

/// Hosts and networks.
pub(crate) struct World {
    nginx: Nginx,
    pub(crate) client: Host,
    twin: Twin,
    lab: Lab,
}

impl World {
    pub(crate) fn build() -> Self {
        let mut lab = Lab::gateway("demo-ha");
        lab.system(SYSTEM);
        let (client, server) = (lab.inside(11), lab.outside(10));
        let twin = lab.twin();
        for (host, (_, gateway)) in [&client, &server].into_iter().zip(GROUPS) {
            host.ok(&["ip", "route", "replace", "default", "via", gateway]);
        }
        let nginx = Nginx::start(&server);
        std::fs::write(nginx.root().join("blob"), blob()).expect("cannot write");
        Self {
            nginx,
            client,
            twin,
            lab,
        }
    }

    /// Begins the download, at `rate` bytes per second at most.
    pub(crate) fn download(&self, rate: u64) -> Child {
        let _ = &self.nginx;
        self.client
            .namespace()
            .command("curl")
            .args([
                "-sS",
                "--fail",
                "-o",
                "blob",
                "--limit-rate",
                &rate.to_string(),
            ])
            .arg(format!("http://{SERVER}/blob"))
            .current_dir(self.client.directory())
            .stderr(crate::complaints())
            .spawn()
            .expect("cannot run curl")
    }

    fn path(&self) -> std::path::PathBuf {
        self.client.directory().join("blob")
    }

    /// Bytes that have come.
    pub(crate) fn so_far(&self) -> u64 {
        std::fs::metadata(self.path()).map_or(0, |blob| blob.len())
    }

    /// Whether what came is what was sent, byte by byte.
    pub(crate) fn is_whole(&self) -> bool {
        std::fs::read(self.path()).is_ok_and(|came| came == blob())
    }
}

/// No two places of it look alike.
fn blob() -> Vec<u8> {
    (0..BYTES / 8)
        .flat_map(|at| (at * 0x9e37_79b9).to_be_bytes())
        .collect()
}

/// The two appliances.
pub(crate) struct Nodes([Option<Sluice>; 2]);

impl Nodes {
    /// Starts both, and waits until each holds its group and knows what the other one has.
    pub(crate) fn start(world: &World) -> Self {
        let first = world.lab.start_first(&config(1));
        let second = world.lab.start_second(&world.twin, &config(2));
        for (number, node) in [&first, &second].into_iter().enumerate() {
            wait::expect("a node to hold its group", || {
                let ha = node.json("/api/v1/ha");
                ha["peer_state"] == "present"
                    && ha["groups"][number]["held_here"] == true
                    && ha["groups"][1 - number]["held_by_peer"] == true
            });
        }
        Self([Some(first), Some(second)])
    }

    /// Kills the node that owns the download. Gives its number.
    pub(crate) fn kill(&mut self, _: &mut World) -> u8 {
        if let Some(node) = self.0[0].take() {
            node.kill();
        }
        1
    }

    /// Those that live, with their numbers.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u8, &Sluice)> {
        let numbered = (1..).zip(&self.0);
        numbered.filter_map(|(number, node)| Some((number, node.as_ref()?)))
    }
}

fn config(node: usize) -> String {
    let mut config = String::new();
    for (number, (name, address)) in (1..).zip(GROUPS) {
        let priority = if number == node { 150 } else { 100 };
        config += &format!(
            "[[ha.group]]\nname = \"{name}\"\nnumber = {number}\naddresses = [\"{address}\"]\n\
             priority = {priority}\npreempt_after = \"1s\"\n\n"
        );
    }
    config
        + "[firewall]\nopen = [{ from = \"inside\", to = \"outside\" }]\n\
           [[snat_pool]]\nname = \"public\"\naddresses = [\"203.0.113.1\"]\n\
           [[snat]]\nname = \"internet\"\nfrom = \"inside\"\nto = \"outside\"\npool = \"public\"\n"
}
