//! Networks, hosts and one appliance between them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::{self, Turn};
use crate::netns::Namespace;
use crate::sluice::Sluice;

use cables::veth;

mod cables;
mod twin;

pub use twin::{HA, Twin};

/// The appliance's addresses in [`Lab::gateway`].
pub const INSIDE: &str = "10.1.0.1";
/// Its address on the outside.
pub const OUTSIDE: &str = "198.51.100.1";
/// Its IPv6 address on the inside.
pub const INSIDE6: &str = "2001:db8:1::1";
/// Its IPv6 address on the outside.
pub const OUTSIDE6: &str = "2001:db8:51::1";

/// What `[system]` says in a lab, but for `eal_args`. A test may replace it.
pub const SYSTEM: &str = "workers = [0, 1]\nidle = \"backoff\"\nsessions = 65536\n\
                          memory_mb = 256\npacket_buffers = 16384\n";

/// How a port of the appliance reaches its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// `net_af_packet` with this many queue pairs. The kernel puts IPv4 fragments together before
    /// the appliance sees them (the driver asks for it).
    AfPacket(u16),
    /// `net_af_xdp`, one queue: frames come as they were sent.
    AfXdp,
}

/// A port of the appliance.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name, its zone and the interface's name.
    pub name: String,
    /// The network it is plugged into.
    pub network: String,
    /// How.
    pub device: Device,
    /// What else its `[[port]]` says, in TOML; more ports on the same device may follow.
    pub settings: String,
}

impl Port {
    /// A port in a zone of its own name, with these addresses.
    pub fn new(name: &str, network: &str, addresses: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            network: network.to_owned(),
            device: Device::AfPacket(2),
            settings: format!("zone = \"{name}\"\naddresses = {addresses:?}\n"),
        }
    }
}

/// The two ports of [`Lab::gateway`], for a lab that wants to change something about them.
pub fn gateway_ports() -> [Port; 2] {
    [("inside", INSIDE, INSIDE6), ("outside", OUTSIDE, OUTSIDE6)]
        .map(|(name, v4, v6)| Port::new(name, name, &[&format!("{v4}/24"), &format!("{v6}/64")]))
}

/// A host on a network: a namespace with its `eth0`.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    namespace: Arc<Namespace>,
    directory: std::path::PathBuf,
    address: IpAddr,
    address6: Option<IpAddr>,
    port: Option<String>,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its programs run.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Where its files and logs go.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The size of a file in its [`directory`](Self::directory), 0 if there is none: how far a
    /// download has come.
    pub fn size_of(&self, file: &str) -> u64 {
        std::fs::metadata(self.directory.join(file)).map_or(0, |file| file.len())
    }

    fn port(&self) -> &str {
        self.port.as_deref().expect("a host on a network")
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its IPv6 address.
    ///
    /// # Panics
    /// If it has none.
    pub fn address6(&self) -> IpAddr {
        self.address6.expect("a host with an IPv6 address")
    }

    /// Its first address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Runs a program to its end, which it has a minute for.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Output {
        self.run_for(Duration::from_secs(60), command)
    }

    /// Runs a program to its end, and kills it (exit code 124 or 137) if that takes too long.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn run_for(&self, patience: Duration, command: &[&str]) -> Output {
        self.namespace
            .command("timeout")
            .args(["--kill-after=5", &patience.as_secs().to_string()])
            .args(command)
            .current_dir(&self.directory)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap_or_else(|why| panic!("cannot run {command:?}: {why}"))
    }

    /// Runs a program that must succeed, and gives what it printed.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}: {} ({})\n{printed}{}",
            self.name,
            command.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Runs a shell command that must succeed, and gives what it printed.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.ok(&["bash", "-euo", "pipefail", "-c", script])
    }

    /// Runs one of the scapy scripts in `tests/python` (Debian's Python, which has scapy).
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn python(&self, script: &str, args: &[&str]) -> String {
        let path = format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"));
        self.ok(&[&["/usr/bin/python3", "-B", &path], args].concat())
    }

    /// Connects an interface of its own with another host's `eth0`, back to back. For hops beyond
    /// the appliance. This end takes packets of up to `mtu` bytes; the other, of 1,500, so that
    /// nobody can guess the limit from a host's MSS.
    ///
    /// # Panics
    /// If that fails.
    pub fn cable(&self, interface: &str, address: &str, peer: &Self, peer_address: &str, mtu: u16) {
        veth(&self.namespace, interface, &peer.namespace, "eth0");
        let mtu = mtu.to_string();
        for (host, interface, address, mtu) in [
            (self, interface, address, mtu.as_str()),
            (peer, "eth0", peer_address, "1500"),
        ] {
            host.namespace
                .ip(&["link", "set", interface, "mtu", mtu, "up"]);
            host.namespace
                .ip(&["addr", "add", address, "dev", interface]);
        }
    }
}

/// Networks, hosts, the place for an appliance, and the turn to use them. See the crate's docs.
#[derive(Debug)]
pub struct Lab {
    switch: Arc<Namespace>,
    appliance: Arc<Namespace>,
    ports: Vec<Port>,
    /// Where the appliance's ports, in that order, are plugged in at the switch.
    plugs: Vec<String>,
    system: String,
    ha: String,
    /// How many appliances there are, where there are several.
    nodes: u8,
    directory: tempfile::TempDir,
    _turn: Turn,
}

impl Lab {
    /// An empty one.
    ///
    /// # Panics
    /// Without rights, or if the machine lacks something.
    pub fn new(name: &str) -> Self {
        let turn = machine::take_turn();
        let switch = Namespace::create("switch");
        for family in ["iptables", "ip6tables", "arptables"] {
            switch.sysctl(&format!("net/bridge/bridge-nf-call-{family}"), "0");
        }
        let appliance = Namespace::create("appliance");
        // The kernel must not speak for the appliance.
        appliance.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        appliance.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        appliance.sysctl("net/ipv4/conf/all/arp_ignore", "8");
        let directory = tempfile::Builder::new()
            .prefix(&format!("sluice-{name}-"))
            .tempdir()
            .expect("cannot make a temporary directory");
        Self {
            switch,
            appliance,
            ports: Vec::new(),
            plugs: Vec::new(),
            system: SYSTEM.to_owned(),
            ha: twin::HA.to_owned(),
            nodes: 2,
            directory,
            _turn: turn,
        }
    }

    /// The usual one: networks `inside` (10.1.0.0/24, 2001:db8:1::/64) and `outside`
    /// (198.51.100.0/24, 2001:db8:51::/64), the appliance being `.1` on both.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn gateway(name: &str) -> Self {
        let mut lab = Self::new(name);
        lab.network("inside");
        lab.network("outside");
        for port in gateway_ports() {
            lab.port(port);
        }
        lab
    }

    /// Adds a network: a bridge.
    ///
    /// # Panics
    /// If that fails.
    pub fn network(&mut self, name: &str) {
        self.switch
            .ip(&["link", "add", name, "type", "bridge", "mcast_snooping", "0"]);
        self.switch.ip(&["link", "set", name, "up"]);
    }

    /// Plugs a port of the appliance into its network.
    ///
    /// # Panics
    /// If that fails.
    pub fn port(&mut self, port: Port) {
        let plug = self.plug(&self.appliance, &port.name, &port.network, 1);
        self.appliance
            .ip(&["link", "set", &port.name, "arp", "off", "up"]);
        self.ports.push(port);
        self.plugs.push(plug);
    }

    /// Connects a port of the appliance back to back with a host's `interface`.
    ///
    /// # Panics
    /// If that fails.
    pub fn port_on(&mut self, port: Port, host: &Host, interface: &str) {
        veth(&self.appliance, &port.name, &host.namespace, interface);
        self.appliance
            .ip(&["link", "set", &port.name, "arp", "off", "up"]);
        host.namespace.ip(&["link", "set", interface, "up"]);
        self.ports.push(port);
        self.plugs.push(String::new());
    }

    /// The ports, to change what they say.
    pub fn ports(&mut self) -> &mut [Port] {
        &mut self.ports
    }

    /// Replaces what `[system]` says, see [`SYSTEM`].
    pub fn system(&mut self, settings: &str) {
        self.system = settings.to_owned();
    }

    /// Adds a host to a network, with addresses (`/length` included) and default routes.
    ///
    /// # Panics
    /// If that fails.
    pub fn host(&mut self, name: &str, network: &str, addresses: &[&str], via: &[&str]) -> Host {
        let namespace = Namespace::create(name);
        let port = self.plug(&namespace, "eth0", network, 1);
        for address in addresses {
            namespace.ip(&["addr", "add", address, "dev", "eth0"]);
        }
        namespace.ip(&["link", "set", "eth0", "up"]);
        for via in via {
            namespace.ip(&["route", "add", "default", "via", via]);
        }
        Host {
            port: Some(port),
            ..self.alone(name, namespace, addresses)
        }
    }

    /// Adds a host that is on no network yet, for [`Host::cable`].
    ///
    /// # Panics
    /// If that fails.
    pub fn lone_host(&mut self, name: &str, addresses: &[&str]) -> Host {
        self.alone(name, Namespace::create(name), addresses)
    }

    fn alone(&self, name: &str, namespace: Arc<Namespace>, addresses: &[&str]) -> Host {
        let addresses: Vec<IpAddr> = addresses
            .iter()
            .filter_map(|address| address.split('/').next()?.parse().ok())
            .collect();
        Host {
            name: name.to_owned(),
            namespace,
            directory: self.directory.path().to_owned(),
            address: addresses[0],
            address6: addresses.iter().copied().find(IpAddr::is_ipv6),
            port: None,
        }
    }

    /// Adds `inNUMBER` to the inside of a [`gateway`](Self::gateway).
    ///
    /// # Panics
    /// If that fails.
    pub fn inside(&mut self, number: u8) -> Host {
        let addresses = [
            format!("10.1.0.{number}/24"),
            format!("2001:db8:1::{number}/64"),
        ];
        let addresses = [&*addresses[0], &*addresses[1]];
        self.host(
            &format!("in{number}"),
            "inside",
            &addresses,
            &[INSIDE, INSIDE6],
        )
    }

    /// Adds `outNUMBER` to the outside of a [`gateway`](Self::gateway).
    ///
    /// # Panics
    /// If that fails.
    pub fn outside(&mut self, number: u8) -> Host {
        let addresses = [
            format!("198.51.100.{number}/24"),
            format!("2001:db8:51::{number}/64"),
        ];
        let addresses = [&*addresses[0], &*addresses[1]];
        self.host(
            &format!("out{number}"),
            "outside",
            &addresses,
            &[OUTSIDE, OUTSIDE6],
        )
    }

    /// The namespace that the appliance runs in.
    pub fn appliance(&self) -> &Arc<Namespace> {
        &self.appliance
    }

    /// Where files of this lab may go; it is removed with the lab.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The whole configuration: system, API, ports, then `rest`.
    pub fn config(&self, rest: &str) -> String {
        use std::fmt::Write as _;
        // Huge pages, where `scripts/testbed` has reserved them; else whatever there is.
        // The same for all of a run: a running appliance takes some, and can't change its mind.
        static HUGE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        let eal = if *HUGE.get_or_init(|| machine::free_huge_mb() >= 384) {
            "[]"
        } else {
            "[\"--no-huge\"]"
        };
        let mut config = format!(
            "[system]\nname = \"lab\"\n{}eal_args = {eal}\n\n[api]\nlisten = \"{}\"\n",
            self.system,
            crate::sluice::API
        );
        for (number, port) in self.ports.iter().enumerate() {
            let name = &port.name;
            let device = match port.device {
                Device::AfPacket(queues) => {
                    format!("net_af_packet{number},iface={name},qpairs={queues}")
                }
                Device::AfXdp => format!(
                    "net_af_xdp{number},iface={name},start_queue=0,queue_count=1,force_copy=1"
                ),
            };
            let settings = port.settings.replace("@DEVICE@", &device);
            let _ = write!(
                config,
                "\n[[port]]\nname = \"{name}\"\ndevice = \"{device}\"\n{settings}"
            );
        }
        config + "\n" + rest
    }

    /// Starts the appliance with [`config`](Self::config).
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start(&self, rest: &str) -> Sluice {
        Sluice::start(&self.appliance, self.directory.path(), &self.config(rest))
    }
}
