//! An API on a loopback port, where nobody is asked who they are, and without workers.

use sluice_control::api;
use sluice_control::compile::DeviceFacts;
use sluice_control::config::{Config, Source};
use sluice_control::controller::{Controller, NoDevices};
use sluice_control::security::Security;
use sluice_control::service::Service;
use sluice_control::store::{Directory, Store};

/// As many pools as take several pages.
pub(crate) const POOLS: usize = 1100;

fn config() -> String {
    let mut text = r#"
[system]
name = "lab"
workers = [0]
[api]
listen = "127.0.0.1:8080"
requests_per_second = 10000
[[port]]
name = "outside"
zone = "outside"
device = "net_null0"
addresses = ["203.0.113.1/24"]
[[port]]
name = "inside"
zone = "inside"
device = "net_null1"
addresses = ["10.0.0.1/16"]
[[virtual_server]]
name = "web"
address = "203.0.113.80"
port = 80
protocol = "tcp"
pool = "p0"
"#
    .to_owned();
    for n in 0..POOLS {
        let address = format!("10.0.{}.{}", 1 + n / 250, 1 + n % 250);
        text += &format!(
            "[[pool]]\nname = \"p{n}\"\nserver = [{{ name = \"s\", address = \"{address}\" }}]\n"
        );
    }
    text
}

/// The API, and what it keeps.
pub(crate) struct Lab {
    pub(crate) service: Option<Service>,
    pub(crate) url: String,
    _place: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let text = config();
        let config =
            Config::read(Source::toml(text.as_str())).unwrap_or_else(|why| panic!("{why}"));
        let directory = Directory::open(&place.path().join("state")).expect("a directory");
        let name = config.system.name.to_string();
        let security = Security::open(&config.api, Some(&directory), &name).expect("good");
        let mut store = Store::open(Box::new(directory)).expect("a directory");
        store.commit("file", "", &text).expect("room");
        let mac = "02:00:00:00:00:01".parse().expect("a MAC address");
        let devices = config.devices();
        let facts = devices
            .iter()
            .map(|device| DeviceFacts::software(mac, device.mtu, 1, device))
            .collect();
        let made = Controller::new(config, facts, Box::new(NoDevices), "1.2.3");
        let (controller, _) = made.unwrap_or_else(|why| panic!("{why}"));
        let controller = controller.with_store(store, None);
        let listener = api::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let file = place.path().join("sluice.toml");
        let service = Service::start(controller, listener, security, &file).expect("a thread");
        Self {
            service: Some(service),
            url,
            _place: place,
        }
    }
}
