use super::*;
use crate::compile::tests::facts;
use crate::compile::{Registry, compile, layout};
use crate::config::Source;
use crate::testing::WHOLE;

fn plan(text: &str) -> Plan {
    let config = Config::read(Source::toml(text)).unwrap_or_else(|why| panic!("{why}"));
    let mut registry = Registry::new(layout(&config));
    let snapshot =
        compile(&config, &facts(&config), &mut registry, (1, None)).expect("it compiles");
    Plan::of(&config, &snapshot)
}

#[test]
fn every_port_has_an_interface_with_its_addresses_and_routes_have_a_source() {
    let plan = plan(WHOLE);
    let names: Vec<&str> = plan.interfaces.keys().map(String::as_str).collect();
    assert_eq!(names, ["dmz", "inside", "outside"]);
    let outside = &plan.interfaces["outside"];
    let addresses = outside.addresses.iter().map(IpNet::to_string);
    let addresses: Vec<String> = addresses.collect();
    assert_eq!(
        addresses,
        ["203.0.113.1/24", "2001:db8:1::1/64"],
        "no link-local ones"
    );
    assert_eq!(outside.mtu, 1500);
    let routes: Vec<String> = plan
        .routes
        .iter()
        .map(|(to, (name, source))| format!("{to} dev {name} src {source}"))
        .collect();
    assert_eq!(
        routes,
        [
            "0.0.0.0/0 dev outside src 203.0.113.1",
            "::/0 dev outside src 2001:db8:1::1"
        ]
    );
}

#[test]
fn a_vip_that_only_others_have_a_route_to_is_reached_as_clients_reach_it() {
    let far = WHOLE.replace("address = \"203.0.113.80\"", "address = \"198.51.100.80\"");
    let added = |text: &str| {
        let text = text.replace("to = \"0.0.0.0/0\"", "to = \"192.0.2.0/24\"");
        let routes = plan(&text).routes.into_iter();
        let vips = routes.filter(|(to, _)| to.prefix_len() == 32);
        let told = vips.map(|(to, (name, source))| format!("{to} dev {name} src {source}"));
        told.collect::<Vec<String>>()
    };
    assert_eq!(added(WHOLE), [""; 0], "it is in the network of a port");
    assert_eq!(
        added(&far),
        ["198.51.100.80/32 dev outside src 203.0.113.1"]
    );
    let turned = far.replace("\"10.0.0.11\"", "\"203.0.113.11\"");
    assert_eq!(added(&turned), ["198.51.100.80/32 dev inside src 10.0.0.1"]);
}

#[test]
fn without_the_section_there_is_nothing() {
    let (text, _) = WHOLE.split_once("[host]").expect("the section");
    assert_eq!(plan(text), Plan::default());
}

#[test]
fn a_name_that_the_kernel_refuses_is_replaced() {
    assert_eq!(interface_name("outside", PortId(3)), "outside");
    assert_eq!(interface_name("lo", PortId(3)), "port3");
    assert_eq!(interface_name("a-very-long-name", PortId(3)), "port3");
}
