//! The demo's networks, hosts and appliance.

use sluice_tests::lab::{Host, Lab, Port};
use sluice_tests::process::Process;
use sluice_tests::servers::{self, Nginx};
use sluice_tests::sluice::Sluice;

/// The virtual server that the three web servers are behind.
pub(crate) const VIP: &str = "203.0.113.80";
/// The address that the client's sessions leave with.
pub(crate) const PUBLIC: &str = "203.0.113.1";

/// Dropped from top to bottom: the appliance first.
pub(crate) struct World {
    pub(crate) sluice: Sluice,
    _servers: Vec<Nginx>,
    _iperf3: Process,
    pub(crate) client: Host,
    pub(crate) internet: Host,
    _web: [Host; 3],
    _lab: Lab,
}

impl World {
    pub(crate) fn build() -> Self {
        let mut lab = Lab::new("demo");
        for (name, own) in [
            ("inside", "10.1.0.1/24"),
            ("servers", "10.2.0.1/24"),
            ("outside", "198.51.100.1/24"),
        ] {
            lab.network(name);
            lab.port(Port::new(name, name, &[own]));
        }
        let client = lab.host("client", "inside", &["10.1.0.10/24"], &["10.1.0.1"]);
        let internet = lab.host(
            "internet",
            "outside",
            &["198.51.100.10/24"],
            &["198.51.100.1"],
        );
        let web = [1, 2, 3].map(|number| {
            let address = format!("10.2.0.1{number}/24");
            lab.host(
                &format!("web{number}"),
                "servers",
                &[&address],
                &["10.2.0.1"],
            )
        });
        let servers: Vec<Nginx> = web.iter().chain([&internet]).map(Nginx::start).collect();
        let iperf3 = servers::iperf3(&internet);
        let sluice = lab.start(&config());
        Self {
            sluice,
            _servers: servers,
            _iperf3: iperf3,
            client,
            internet,
            _web: web,
            _lab: lab,
        }
    }
}

fn config() -> String {
    let servers: String = [(1, 1), (2, 2), (3, 1)]
        .iter()
        .map(|(number, weight)| {
            format!(
                "[[pool.server]]\nname = \"web{number}\"\naddress = \"10.2.0.1{number}\"\n\
                 port = 80\nweight = {weight}\n"
            )
        })
        .collect();
    format!(
        "[firewall]\nopen = [{{ from = \"inside\", to = \"outside\" }}]\n\
         [[snat_pool]]\nname = \"public\"\naddresses = [\"{PUBLIC}\"]\n\
         [[snat]]\nname = \"internet\"\nfrom = \"inside\"\nto = \"outside\"\npool = \"public\"\n\
         [[pool]]\nname = \"web\"\n{servers}\
         [[virtual_server]]\nname = \"web\"\naddress = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\n\
         pool = \"web\"\nmode = \"dnat\"\nscheduler = \"weighted_round_robin\"\n"
    )
}
