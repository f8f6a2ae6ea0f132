//! A second appliance beside the first, on the same networks, and a cable between the two.

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

/// The second appliance of a [`Lab::gateway`].
#[derive(Debug)]
pub struct Twin {
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
        let twin = self.second();
        veth(&self.appliance, LINK, &twin.namespace, LINK);
        self.link_up(&twin);
        twin
    }

    /// The same with a cable that can be made worse, and cut.
    ///
    /// # Panics
    /// If that fails.
    pub fn twin_by_wire(&mut self, seed: u64) -> (Twin, Wire) {
        let twin = self.second();
        let wire = Wire::between([&self.appliance, &twin.namespace], LINK, seed);
        self.link_up(&twin);
        (twin, wire)
    }

    fn link_up(&self, twin: &Twin) {
        for end in [&self.appliance, &twin.namespace] {
            end.ip(&["link", "set", LINK, "arp", "off", "up"]);
        }
    }

    fn second(&self) -> Twin {
        let namespace = Namespace::create("twin");
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", "8");
        let mut plugs = Vec::new();
        for port in &self.ports {
            let plug = self.plug(&namespace, &port.name, &port.network, 1);
            plugs.push((port.network.clone(), plug));
            namespace.ip(&["link", "set", &port.name, "arp", "off", "up"]);
        }
        let directory = self.directory.path().join("twin");
        std::fs::create_dir(&directory).expect("cannot make a directory");
        Twin {
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

    /// Starts the second one with the same.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_second(&self, twin: &Twin, rest: &str) -> Sluice {
        let config = self.config(&format!("{}{rest}", self.ha_of(2)));
        let config = config
            .replace("name = \"lab\"", "name = \"twin\"")
            .replace(".1/24\"", ".2/24\"")
            .replace("::1/64\"", "::2/64\"");
        Sluice::start(&twin.namespace, &twin.directory, &config)
    }

    fn ha_of(&self, node: u8) -> String {
        format!(
            "[ha]\nnode = {node}\npeer = {}\ndevice = \"net_af_packet9,iface={LINK}\"\n{}\n",
            3 - node,
            self.ha,
        )
    }
}
