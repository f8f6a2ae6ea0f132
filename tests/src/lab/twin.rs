//! A second appliance beside the first, and a third, on the same networks, and what joins them.

use std::sync::Arc;

use super::{Lab, veth};
use crate::netns::Namespace;
use crate::sluice::Sluice;
use crate::wire::Wire;

/// The interface of either end of the cable.
const LINK: &str = "ha";

/// What `[ha]` says in a lab, but for the nodes' numbers and the device. A test may replace it.
pub const HA: &str = "key = \"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\"\n\
                      heartbeat_ms = 100\ndead_after = 10\nwitness = \"inside\"\n";

/// The second appliance of a [`Lab::gateway`], or the third.
#[derive(Debug)]
pub struct Twin {
    node: u8,
    namespace: Arc<Namespace>,
    directory: std::path::PathBuf,
    /// By network: where its port is plugged in at the switch.
    plugs: Vec<(String, String)>,
}

impl Lab {
    /// Adds a second appliance, `.2` on both networks where the first is `.1`.
    ///
    /// # Panics
    /// If that fails.
    pub fn twin(&mut self) -> Twin {
        let twin = self.another(2);
        veth(&self.appliance, LINK, &twin.namespace, LINK);
        self.link_up(&twin);
        twin
    }

    /// The same with a cable that can be made worse, and cut.
    ///
    /// # Panics
    /// If that fails.
    pub fn twin_by_wire(&mut self, seed: u64) -> (Twin, Wire) {
        let twin = self.another(2);
        let wire = Wire::between([&self.appliance, &twin.namespace], LINK, seed);
        self.link_up(&twin);
        (twin, wire)
    }

    /// Adds a second appliance and a third, and a switch between all three that learns nothing.
    ///
    /// # Panics
    /// If that fails.
    pub fn trio(&mut self) -> [Twin; 2] {
        self.nodes = 3;
        let twins = [2, 3].map(|node| self.another(node));
        self.network(LINK);
        let bridge = ["link", "set", LINK, "type", "bridge", "ageing_time", "0"];
        self.switch.ip(&bridge);
        let namespaces = [&self.appliance, &twins[0].namespace, &twins[1].namespace];
        for namespace in namespaces {
            self.plug(namespace, LINK, LINK, 1);
            namespace.ip(&["link", "set", LINK, "arp", "off", "up"]);
        }
        twins
    }

    /// Adds a second appliance, and the kernel as a router between the HA links: node n is to be 10.99.n.1,
    /// and has 10.99.n.254 for a router. The namespace of that, whose interfaces are `to1` and `to2`.
    ///
    /// # Panics
    /// If that fails.
    pub fn twin_by_router(&mut self) -> (Twin, Arc<Namespace>) {
        let twin = self.another(2);
        let router = Namespace::create("router");
        router.sysctl("net/ipv4/ip_forward", "1");
        for (node, end) in [(1, &self.appliance), (2, &twin.namespace)] {
            let port = format!("to{node}");
            veth(end, LINK, &router, &port);
            end.ip(&["link", "set", LINK, "arp", "off", "up"]);
            let address = format!("10.99.{node}.254/24");
            router.ip(&["address", "add", &address, "dev", &port]);
            router.ip(&["link", "set", &port, "up"]);
        }
        (twin, router)
    }

    fn link_up(&self, twin: &Twin) {
        for end in [&self.appliance, &twin.namespace] {
            end.ip(&["link", "set", LINK, "arp", "off", "up"]);
        }
    }

    fn another(&self, node: u8) -> Twin {
        let name = if node == 2 { "twin" } else { "third" };
        let namespace = Namespace::create(name);
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", "8");
        let mut plugs = Vec::new();
        for port in &self.ports {
            let plug = self.plug(&namespace, &port.name, &port.network, 1);
            plugs.push((port.network.clone(), plug));
            namespace.ip(&["link", "set", &port.name, "arp", "off", "up"]);
        }
        let directory = self.directory.path().join(name);
        std::fs::create_dir(&directory).expect("cannot make a directory");
        Twin {
            node,
            namespace,
            directory,
            plugs,
        }
    }

    /// Has two appliances hear nothing of each other on a network, while hosts hear both.
    ///
    /// # Panics
    /// If that fails.
    pub fn keep_apart(&self, twin: &Twin, network: &str, apart: bool) {
        let other = twin.plugs.iter().find(|(there, _)| there == network);
        let (_, other) = other.expect("a port of the twin");
        let state = if apart { "on" } else { "off" };
        for plug in [self.plug_of(network), other] {
            let isolated = ["type", "bridge_slave", "isolated", state];
            self.switch
                .ip(&[&["link", "set", plug][..], &isolated].concat());
        }
    }

    /// Replaces what `[ha]` says, see [`HA`].
    pub fn ha(&mut self, settings: &str) {
        settings.clone_into(&mut self.ha);
    }

    /// Starts the first of two appliances with [`config`](Self::config).
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_first(&self, rest: &str) -> Sluice {
        self.start(&format!("{}{rest}", self.ha_of(1)))
    }

    /// Starts the second one, or the third, with the same.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_second(&self, twin: &Twin, rest: &str) -> Sluice {
        let node = twin.node;
        let config = self.config(&format!("{}{rest}", self.ha_of(node)));
        let config = config
            .replace("name = \"lab\"", &format!("name = \"node{node}\""))
            .replace(".1/24\"", &format!(".{node}/24\""))
            .replace("::1/64\"", &format!("::{node}/64\""));
        Sluice::start(&twin.namespace, &twin.directory, &config)
    }

    fn ha_of(&self, node: u8) -> String {
        let others: Vec<u8> = (1..=self.nodes).filter(|&other| other != node).collect();
        let peers = match others[..] {
            [peer] => format!("peer = {peer}"),
            _ => format!("peers = {others:?}"),
        };
        format!(
            "[ha]\nnode = {node}\n{peers}\ndevice = \"net_af_packet9,iface={LINK}\"\n{}\n",
            self.ha,
        )
    }
}
