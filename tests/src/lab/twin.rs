//! A second appliance beside the first, on the same networks, and a cable between the two.

use std::sync::Arc;

use super::{Lab, veth};
use crate::netns::Namespace;
use crate::sluice::Sluice;

/// The interface of either end of the cable.
const LINK: &str = "ha";

/// The second appliance of a [`Lab::gateway`].
#[derive(Debug)]
pub struct Twin {
    namespace: Arc<Namespace>,
    directory: std::path::PathBuf,
}

impl Lab {
    /// Adds a second appliance, `.2` on both networks where the first is `.1`.
    ///
    /// # Panics
    /// If that fails.
    pub fn twin(&mut self) -> Twin {
        let namespace = Namespace::create("twin");
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", "8");
        for port in &self.ports {
            self.plug(&namespace, &port.name, &port.network, 1);
            namespace.ip(&["link", "set", &port.name, "arp", "off", "up"]);
        }
        veth(&self.appliance, LINK, &namespace, LINK);
        for end in [&self.appliance, &namespace] {
            end.ip(&["link", "set", LINK, "arp", "off", "up"]);
        }
        let directory = self.directory.path().join("twin");
        std::fs::create_dir(&directory).expect("cannot make a directory");
        Twin {
            namespace,
            directory,
        }
    }

    /// Starts the first of two appliances with [`config`](Self::config).
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_first(&self, rest: &str) -> Sluice {
        self.start(&format!("{}{rest}", ha(1)))
    }

    /// Starts the second one with the same.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start_second(&self, twin: &Twin, rest: &str) -> Sluice {
        let config = self.config(&format!("{}{rest}", ha(2)));
        let config = config
            .replace("name = \"lab\"", "name = \"twin\"")
            .replace(".1/24\"", ".2/24\"")
            .replace("::1/64\"", "::2/64\"");
        Sluice::start(&twin.namespace, &twin.directory, &config)
    }
}

fn ha(node: u8) -> String {
    format!(
        "[ha]\nnode = {node}\npeer = {}\ndevice = \"net_af_packet9,iface={LINK}\"\n\
         key = \"{}\"\nheartbeat_ms = 100\ndead_after = 10\n\
         witness = \"inside\"\n\n",
        3 - node,
        "5a".repeat(32),
    )
}
