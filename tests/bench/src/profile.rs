//! What the generator sends, as its profile.

use std::fmt::Write;

/// UDP packets of 64 bytes from the first port to the second, or TCP connections between them.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Addresses of the ports, and the appliance's on their networks.
    pub(crate) ports: [Port; 2],
    pub(crate) source: String,
    pub(crate) source_ports: &'static str,
    pub(crate) destination: &'static str,
    pub(crate) flows: usize,
    /// Open and close TCP connections, so many at a time, instead of sending UDP.
    pub(crate) connections: Option<u32>,
    /// In random order, each once a round; else by number.
    pub(crate) random: bool,
    /// Packets per second; flat out if `None`.
    pub(crate) rate: Option<f64>,
    /// Stamp packets and take their times.
    pub(crate) latency: bool,
    /// Open every session before measuring.
    pub(crate) warm_up: bool,
    /// Ask for the appliance's MAC address by ARP. Who forwards by MAC address does not answer.
    pub(crate) resolve: bool,
    pub(crate) window_ms: u32,
}

/// A port of the generator.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// Its own address.
    pub(crate) address: &'static str,
    /// The appliance's.
    pub(crate) gateway: &'static str,
    /// Other addresses that it answers ARP for.
    pub(crate) answers: &'static str,
}

/// Packets per second while sessions are opened.
const OPENING: f64 = 1.2e6;

impl Profile {
    /// The profile for these devices.
    pub(crate) fn text(&self, devices: [&str; 2]) -> String {
        let Self {
            source,
            source_ports,
            destination,
            flows,
            window_ms,
            latency,
            ..
        } = self;
        let order = if self.random { "random" } else { "sequential" };
        let rate = match self.rate {
            Some(rate) => format!("rate = {rate:.1}\n"),
            None => String::new(),
        };
        let may_miss = flows / 1000;
        let [from, to] = [0, 1].map(|n| self.port(n, devices[n]));
        let mut text = format!(
            "memory_mb = 256\n\
             [measure]\nwindows = 1\nwindow_ms = {window_ms}\nsettle_ms = 50\ndrain_ms = 100\n\n\
             {from}{to}"
        );
        // Writing to a string does not fail.
        let _ = match self.connections {
            Some(concurrent) => write!(
                text,
                "[tcp]\nclient = \"port0\"\nserver = \"port1\"\nconcurrent = {concurrent}\n"
            ),
            None => write!(
                text,
                "[warm_up]\nrate = {OPENING:.1}\npasses = 8\nmay_miss = {may_miss}\n\n\
                 [[stream]]\nfrom = \"port0\"\nto = \"port1\"\norder = \"{order}\"\n\
                 size = 64\nlatency = {latency}\n{rate}"
            ),
        };
        let _ = write!(
            text,
            "source = [\"{source}\"]\nsource_ports = \"{source_ports}\"\n\
             destination = [\"{destination}\"]\ndestination_ports = \"80\"\nflows = {flows}\n"
        );
        text
    }

    fn port(&self, number: usize, device: &str) -> String {
        let Port {
            address,
            gateway,
            answers,
        } = &self.ports[number];
        let gateway = if self.resolve {
            format!("gateway = \"{gateway}\"")
        } else {
            format!("gateway_mac = \"02:00:00:00:00:0{}\"", number + 1)
        };
        format!(
            "[[port]]\nname = \"port{number}\"\ndevice = \"{device}\"\naddress = \"{address}\"\n\
             {gateway}\nanswers = [{answers}]\n\n"
        )
    }
}
