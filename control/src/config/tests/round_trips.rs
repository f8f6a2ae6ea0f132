use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sluice_dataplane::nat::rules::{Filtering, Mapping};
use sluice_dataplane::snapshot::{LbMode, OutOfState, Persistence, ServerState};
use sluice_dataplane::tcp::state::State;

use super::*;

#[test]
fn every_value_means_what_it_says() {
    let config = Config::read(Source::toml(WHOLE)).unwrap_or_else(|why| panic!("{why}"));
    let system = &config.system;
    assert_eq!(system.workers, [0, 1]);
    assert_eq!(
        (system.name.as_str(), system.idle),
        ("sluice-a", Idle::Backoff)
    );
    assert_eq!((system.sessions, system.sessions_v6), (2_000_000, 50_000));
    assert_eq!((system.memory_mb, system.packet_buffers), (2048, 65_536));
    assert_eq!(system.eal_args, ["--no-huge"]);
    assert_eq!(system.file_prefix.as_str(), "a");
    assert!(system.harden, "unless told otherwise");
    assert_eq!(config.api.listen, "127.0.0.1:8081".parse().unwrap());
    let zones: Vec<&str> = config.zones.iter().map(Name::as_str).collect();
    assert_eq!(zones, ["outside", "inside", "dmz"]);

    let devices = config.devices();
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["net_af_packet0,iface=wan0", "0000:03:00.0"]);
    assert_eq!((devices[0].queues, devices[0].queues_given), (2, true));
    assert_eq!((devices[1].queues, devices[1].queues_given), (2, false));
    assert_eq!(devices[0].rss_key.as_ref().map(Vec::len), Some(40));
    assert_eq!((devices[0].tagged, devices[1].tagged), (false, true));
    assert_eq!(
        (devices[0].name.is_pci(), devices[1].name.is_pci()),
        (false, true)
    );

    assert_eq!(config.ports[2].vlan, Some(101));
    assert_eq!(config.ports[2].zone, ZoneIndex(2));
    assert_eq!(config.routes[1].port, Some(PortIndex(0)));

    let rule = &config.firewall.rules[0];
    assert_eq!(
        (rule.from, rule.to),
        (Some(ZoneIndex(0)), Some(ZoneIndex(2)))
    );
    assert_eq!((rule.protocol, rule.allow), (Some(6), true));
    assert_eq!(rule.ports, [(22, 22), (2200, 2299)]);
    assert_eq!(
        config.firewall.open,
        [(ZoneIndex(1), ZoneIndex(0)), (ZoneIndex(1), ZoneIndex(2))]
    );

    assert_eq!(config.timeouts.tcp[State::Established as usize], 7_440_000);
    assert_eq!(config.timeouts.tcp[State::SynSent as usize], 60_000);
    assert_eq!(config.timeouts.tcp[State::TimeWait as usize], 30_000);
    assert_eq!(config.timeouts.udp_new, 30_000);
    assert_eq!(config.tcp.out_of_state, OutOfState::Reset);
    assert!(config.tcp.strict_window);
    assert_eq!(config.icmp.errors_per_second, 100);
    assert_eq!(config.alg.ftp, [21, 2121]);

    let host = config.host.as_ref().expect("a host interface");
    assert_eq!(host.namespace.as_str(), "sluice-a-host");
    assert_eq!(host.strangers_per_second, 500);
    let allow = &host.allow[0];
    assert_eq!((allow.from, allow.protocol), (Some(ZoneIndex(0)), Some(6)));
    assert_eq!(allow.ports, [(179, 179)]);

    let pool = &config.snat_pools[0];
    let last_octets = [10, 11, 12, 16, 17, 18, 19];
    let wanted = last_octets.map(|last| IpAddr::from(Ipv4Addr::new(203, 0, 113, last)));
    assert_eq!(pool.addresses, wanted);
    assert_eq!(pool.mapping, Mapping::EndpointIndependent);
    assert_eq!(pool.filtering, Filtering::AddressDependent);
    assert_eq!((pool.ports, pool.parity), ((1024, 65_535), true));
    assert_eq!(config.snat[0].new_source, NewSource::Keep);
    assert_eq!(config.snat[1].new_source, NewSource::Pool(SnatPoolIndex(0)));
    assert_eq!(config.snat[1].clamp_mss, Some(1400));
    assert_eq!(config.snat[1].timeouts.udp, Some(120_000));
    assert_eq!(config.static_nat[0].open_from, [ZoneIndex(0)]);

    let forward = &config.forwards[0];
    assert_eq!((forward.protocol, forward.ports), (6, (2200, 2209)));
    assert_eq!(forward.to, "10.0.1.5:2200".parse::<SocketAddr>().unwrap());
    assert_eq!(forward.source, NewSource::Masquerade);

    let servers = &config.pools[0].servers;
    assert_eq!((servers[0].port, servers[0].weight), (Some(8080), 3));
    assert_eq!(servers[0].state, ServerState::Draining);
    assert_eq!((servers[1].port, servers[1].weight), (None, 1));
    assert_eq!(servers[1].state, ServerState::Up);

    let vs = &config.virtual_servers[0];
    assert_eq!(
        (vs.protocol, vs.ports, vs.mode),
        (Some(6), Some((80, 80)), LbMode::Fullnat)
    );
    let wanted = Persistence {
        prefix_v4: 24,
        prefix_v6: 64,
        timeout_ms: 300_000,
    };
    assert_eq!(vs.persistence, Some(wanted));
    assert_eq!(vs.snat_pool, Some(SnatPoolIndex(0)));
}

#[test]
fn toml_and_json_come_back_as_they_were() {
    let config = Config::read(Source::toml(WHOLE)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(config.to_toml(), WHOLE);

    let rewritten = toml::to_string_pretty(&config.raw).expect("plain values");
    let again = Config::read(Source::toml(rewritten)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(again.raw, config.raw);

    let json = serde_json::to_string(&config.raw).expect("plain values");
    assert!(!json.contains("null"), "{json}");
    let from_json = Config::read(Source::json(json)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(from_json.raw, config.raw);
    let toml = from_json.to_toml();
    let again = Config::read(Source::toml(toml)).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(again.raw, config.raw);
    assert_eq!(
        Config {
            source: config.source.clone(),
            ..again
        },
        config
    );
}

#[test]
fn what_is_left_out_has_defaults() {
    let config = Config::read(Source::toml(
        "[system]\nworkers = [3]\n\
         [[port]]\nname = 'lan'\ndevice = '03:00.1'\nzone = 'inside'\naddresses = ['10.0.0.1/24']\n\
         [[port]]\nname = 'wan'\ndevice = 'net_null0'\nzone = 'outside'\n",
    ))
    .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(config.system.name.as_str(), "sluice");
    assert_eq!(config.system.file_prefix.as_str(), "sluice");
    assert_eq!(config.system.idle, Idle::Spin);
    assert_eq!(config.api.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.firewall.open, [(ZoneIndex(0), ZoneIndex(1))]);
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.tcp.out_of_state, OutOfState::Drop);
    assert_eq!(config.ports[0].device.as_str(), "0000:03:00.1");
    assert_eq!(
        (config.ports[0].mtu, config.ports[0].clamp_mss),
        (1500, false)
    );

    // Zones without these names open nothing by themselves.
    let config = Config::read(Source::toml(
        "[system]\nworkers = [3]\n\
         [[port]]\nname = 'lan'\ndevice = 'net_null0'\nzone = 'lan'\n\
         [[port]]\nname = 'wan'\ndevice = 'net_null1'\nzone = 'outside'\n",
    ))
    .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(config.firewall.open, []);
}
