//! What tests of two appliances share: both of them, a client, a server, and the HA link between.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::beat::Beat;
use sluice_tests::lab::{Host, Lab, Twin};
use sluice_tests::load::Load;
use sluice_tests::servers::{Nginx, UdpEcho};
use sluice_tests::sluice::Sluice;
use sluice_tests::steady::{Steady, TcpEcho};
use sluice_tests::wait;
use sluice_tests::wire::Wire;

use crate::snat;

/// The server outside.
pub(crate) const SERVER: &str = "198.51.100.10";
/// Tables of a node that is one of two on a small machine.
pub(crate) const SMALL: &str = "workers = [0, 1]\nidle = \"backoff\"\nsessions = 16384\nsessions_v6 = 1024\n\
                                memory_mb = 160\npacket_buffers = 8192\n";
/// The gateway of hosts inside, and that of hosts outside.
pub(crate) const GATEWAYS: [&str; 2] = ["10.1.0.254", "198.51.100.254"];
/// Where the echoes listen.
const ECHO: u16 = 7;

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    /// Hosts know the nodes' own addresses: requests go to node 1, replies to node 2.
    Fixed,
    /// Both gateways are one group, which node 1 prefers to hold.
    Together,
    /// Node 1 prefers to hold the gateway inside, and so gets the requests; node 2 that outside.
    Crossed,
}

/// Two appliances' places, their HA link, and hosts around them.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) twin: Twin,
    pub(crate) wire: Wire,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) nginx: Nginx,
    /// What the configuration of the nodes says besides, see [`Lab::start_first`].
    pub(crate) rest: [String; 2],
    _echoes: (TcpEcho, UdpEcho),
}

impl Pair {
    pub(crate) fn new(name: &str, ways: Ways) -> Self {
        let mut lab = Lab::gateway(name);
        lab.system(SMALL);
        let (client, server) = (lab.inside(11), lab.outside(10));
        let (twin, wire) = lab.twin_by_wire(4);
        let gateways = match ways {
            Ways::Fixed => ["10.1.0.1", "198.51.100.2"],
            Ways::Together | Ways::Crossed => GATEWAYS,
        };
        for (host, gateway) in [&client, &server].into_iter().zip(gateways) {
            host.ok(&["ip", "route", "replace", "default", "via", gateway]);
        }
        let nginx = Nginx::start(&server);
        let echoes = (
            TcpEcho::start(server.namespace(), server.at(ECHO)),
            UdpEcho::start(server.namespace(), server.address(), ECHO),
        );
        Self {
            lab,
            twin,
            wire,
            client,
            server,
            nginx,
            rest: [1, 2].map(|node| groups(ways, node) + &snat("")),
            _echoes: echoes,
        }
    }

    pub(crate) fn first(&self) -> Sluice {
        self.lab.start_first(&self.rest[0])
    }

    pub(crate) fn second(&self) -> Sluice {
        self.lab.start_second(&self.twin, &self.rest[1])
    }

    /// Starts both, and waits until they know each other.
    pub(crate) fn both(&self) -> [Sluice; 2] {
        let nodes = [self.first(), self.second()];
        nodes.each_ref().map(await_ready);
        nodes
    }

    pub(crate) fn load(&self, clients: usize, pause: Duration) -> Load {
        let server = SocketAddr::new(self.server.address(), 80);
        Load::start(self.client.namespace(), clients, server, "/from", pause)
    }

    pub(crate) fn steady(&self, count: usize) -> Steady {
        let period = Duration::from_millis(500);
        Steady::start(self.client.namespace(), self.server.at(ECHO), count, period)
    }

    pub(crate) fn beat(&self) -> Beat {
        Beat::start(self.client.namespace(), self.server.at(ECHO))
    }
}

fn groups(ways: Ways, node: u8) -> String {
    let group = |name: &str, number: u8, addresses: &[&str], preferred: u8| {
        let priority = if node == preferred { 150 } else { 100 };
        format!(
            "[[ha.group]]\nname = \"{name}\"\nnumber = {number}\naddresses = {addresses:?}\n\
             priority = {priority}\npreempt_after = \"1s\"\n\n"
        )
    };
    match ways {
        Ways::Fixed => String::new(),
        Ways::Together => group("gateways", 1, &GATEWAYS, 1),
        Ways::Crossed => {
            group("requests", 1, &GATEWAYS[..1], 1) + &group("replies", 2, &GATEWAYS[1..], 2)
        }
    }
}

/// Whether a node holds the group that is configured as number `group` from 0.
pub(crate) fn holds(node: &Sluice, group: usize) -> bool {
    node.json("/api/v1/ha")["groups"][group]["held_here"] == true
}

#[track_caller]
pub(crate) fn await_peer(node: &Sluice, state: &str) {
    wait::expect(&format!("the other appliance to be {state}"), || {
        node.json("/api/v1/ha")["peer_state"] == state
    });
}

/// Waits until a node knows everything, and the other one knows everything of it.
#[track_caller]
pub(crate) fn await_ready(node: &Sluice) {
    wait::expect("a node to know everything, and to be known", || {
        let ha = node.json("/api/v1/ha");
        ha["peer_state"] == "present" && ha["ready"] == true && ha["joined"] == true
    });
}

/// Waits until nodes hold these groups, each given by its number from 0.
#[track_caller]
pub(crate) fn await_held(held: &[(&Sluice, usize)]) {
    for (node, group) in held {
        wait::expect("a node to hold its group", || holds(node, *group));
    }
}

/// Waits until the beat goes on, and says how long it was silent since `since`.
#[track_caller]
pub(crate) fn gap(beat: &Beat, since: Instant, what: &str) -> Duration {
    let before = beat.answers();
    wait::expect("datagrams to be answered", || beat.answers() > before + 100);
    let gap = beat.longest_gap(since);
    eprintln!("{what}: {} ms without an answer", gap.as_millis());
    gap
}
