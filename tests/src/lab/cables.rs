//! Cables between namespaces, and what they are plugged into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Host, Lab};
use crate::netns::Namespace;

impl Lab {
    /// Pulls a host's cable out of its network.
    ///
    /// # Panics
    /// If it has none.
    pub fn unplug(&self, host: &Host) {
        self.switch.ip(&["link", "set", host.port(), "down"]);
    }

    /// Puts it back.
    ///
    /// # Panics
    /// If it has none.
    pub fn plug_in(&self, host: &Host) {
        self.switch.ip(&["link", "set", host.port(), "up"]);
    }

    /// Pulls the appliance's cable out of a network.
    ///
    /// # Panics
    /// If it has no port there.
    pub fn unplug_port(&self, network: &str) {
        self.switch
            .ip(&["link", "set", self.plug_of(network), "down"]);
    }

    /// Puts it back.
    ///
    /// # Panics
    /// If it has no port there.
    pub fn plug_in_port(&self, network: &str) {
        self.switch
            .ip(&["link", "set", self.plug_of(network), "up"]);
    }

    pub(super) fn plug_of(&self, network: &str) -> &str {
        let mut ports = self.ports.iter().zip(&self.plugs);
        let found = ports.find(|(port, _)| port.network == network);
        found.map(|(_, plug)| plug.as_str()).expect("a port")
    }

    pub(super) fn plug(
        &self,
        namespace: &Arc<Namespace>,
        interface: &str,
        network: &str,
        queues: u16,
    ) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let port = format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        veth_with_queues(namespace, interface, &self.switch, &port, queues);
        self.switch
            .ip(&["link", "set", &port, "master", network, "up"]);
        port
    }
}

pub(super) fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str) {
    veth_with_queues(a, a_name, b, b_name, 1);
}

/// A veth pair whose ends compute every checksum and send every segment by themselves, as on a wire.
fn veth_with_queues(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str, queues: u16) {
    let queues = queues.to_string();
    let counts = ["numtxqueues", &queues, "numrxqueues", &queues];
    let one = ["link", "add", a_name, "netns", a.name()];
    let other = ["peer", "name", b_name, "netns", b.name()];
    crate::netns::ip(&[&one[..], &counts, &["type", "veth"], &other, &counts].concat());
    for (namespace, name) in [(a, a_name), (b, b_name)] {
        let output = namespace
            .command("ethtool")
            .args(["-K", name])
            .args([
                "tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off",
            ])
            .output()
            .expect("cannot run ethtool");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ethtool -K {name}: {complaint}");
    }
}
