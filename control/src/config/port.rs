//! `[[port]]`: a logical port, which is a device or one VLAN of it.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_wire::MacAddr;

use super::names::{Name, ZoneIndex};
use super::place::{Place, optional};
use super::raw::section;
use super::value::{number, unicast, word};

section! {
    /// `[[port]]`
    pub struct RawPort {
        /// Its name.
        name: String,
        /// PCI address or DPDK device string.
        device: String,
        /// VLAN id.
        vlan: i64,
        /// The zone that it belongs to.
        zone: String,
        /// Own addresses with prefix length.
        addresses: Vec<String>,
        /// Largest IP packet in bytes.
        mtu: i64,
        /// Receive queues of the device.
        queues: i64,
        /// `tuple`, `source` or `destination`.
        rss: String,
        /// RSS key in hexadecimal.
        rss_key: String,
        /// MAC address instead of the device's own.
        mac: String,
        /// Clamp the MSS of SYNs to the MTU.
        clamp_mss: bool,
    }
}

/// What the device spreads packets over workers by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rss {
    /// Both addresses and both ports.
    #[default]
    Tuple,
    /// The source address.
    Source,
    /// The destination address.
    Destination,
}

/// A DPDK device as the configuration names it: a PCI address or a device string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// As DPDK wants it: `0000:03:00.0` or `net_af_packet0,iface=eth1`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a PCI device (`--allow`), not a virtual one (`--vdev`).
    pub fn is_pci(&self) -> bool {
        !self.0.starts_with("net_")
    }

    pub(super) fn check(text: &str, place: &Place<'_>) -> Option<Self> {
        let (device, _) = text.split_once(',').unwrap_or((text, ""));
        let good = pci(device).is_some()
            || device.strip_prefix("net_").is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_lowercase())
                    && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            });
        if !good || text.contains(char::is_whitespace) {
            return place.wrong(
                format_args!("{text:?} is not a device"),
                "write a PCI address like 0000:03:00.0 or a device string like \
                 net_af_packet0,iface=eth1",
            );
        }
        if pci(device).is_some() && device.matches(':').count() == 1 {
            return Some(Self(format!("0000:{text}")));
        }
        Some(Self(text.to_owned()))
    }
}

/// `[dddd:]bb:dd.f`
fn pci(text: &str) -> Option<()> {
    let hex = |part: &str, len: usize| {
        (part.len() == len && part.bytes().all(|c| c.is_ascii_hexdigit())).then_some(())
    };
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, slot) = rest.rsplit_once(':')?;
    if let Some((domain, bus)) = rest.split_once(':') {
        hex(domain, 4)?;
        hex(bus, 2)?;
    } else {
        hex(rest, 2)?;
    }
    hex(slot, 2)?;
    function
        .bytes()
        .all(|c| (b'0'..=b'7').contains(&c))
        .then_some(())?;
    hex(function, 1)
}

/// A logical port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: Name,
    /// Its device.
    pub device: DeviceName,
    /// Its VLAN id, or `None` for untagged frames.
    pub vlan: Option<u16>,
    /// Its zone.
    pub zone: ZoneIndex,
    /// Own addresses.
    pub addresses: Vec<IpNet>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Clamp the MSS of SYNs to the MTU.
    pub clamp_mss: bool,
    /// What it says of its device.
    pub settings: DeviceSettings,
}

/// What a port may say of its device; ports that share one must not contradict each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    /// Receive queues.
    pub queues: Option<u16>,
    /// What packets are spread by.
    pub rss: Option<Rss>,
    /// Toeplitz key, 40 or 52 bytes.
    pub rss_key: Option<Vec<u8>>,
    /// MAC address.
    pub mac: Option<MacAddr>,
}

impl Port {
    /// Whether `address` is on a network of this port.
    pub fn is_connected(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.contains(&address))
    }
}

impl RawPort {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<Port> {
        let name = place
            .required("name", &self.name, "\"outside\"")
            .and_then(|name| Name::check(name, &place.key("name")));
        let device = place
            .required("device", &self.device, "\"0000:03:00.0\"")
            .and_then(|device| DeviceName::check(device, &place.key("device")));
        let vlan = optional(self.vlan, |id| {
            number::<u16>(id, 1..=4094, &place.key("vlan"))
        });
        let zone = place
            .required("zone", &self.zone, "\"outside\"")
            .and_then(|zone| {
                let place = place.key("zone");
                Name::check(zone, &place)?;
                place.names().zone(zone, &place)
            });
        let given = self.addresses.clone().unwrap_or_default();
        let addresses = place
            .key("addresses")
            .each(&given, |text, place| own_address(text, place));
        let mtu = number::<u16>(self.mtu.unwrap_or(1500), 576..=9600, &place.key("mtu"));
        let settings = self.settings(place);
        let (addresses, mtu) = (addresses?, mtu?);
        if mtu < 1280 && addresses.iter().any(|own| own.addr().is_ipv6()) {
            return place.key("mtu").wrong(
                format_args!("{mtu} is too small for IPv6"),
                "write 1280 or more, or take out the IPv6 addresses",
            );
        }
        Some(Port {
            name: name?,
            device: device?,
            vlan: vlan?,
            zone: zone?,
            addresses,
            mtu,
            clamp_mss: self.clamp_mss.unwrap_or(false),
            settings: settings?,
        })
    }

    fn settings(&self, place: &Place<'_>) -> Option<DeviceSettings> {
        let queues = optional(self.queues, |n| {
            number::<u16>(n, 1..=64, &place.key("queues"))
        });
        let rss = optional(self.rss.as_deref(), |text| {
            let words = [
                ("tuple", Rss::Tuple),
                ("source", Rss::Source),
                ("destination", Rss::Destination),
            ];
            word(text, &words, &place.key("rss"))
        });
        let rss_key = optional(self.rss_key.as_deref(), |text| {
            rss_key(text, &place.key("rss_key"))
        });
        let mac = optional(self.mac.as_deref(), |text| mac(text, &place.key("mac")));
        Some(DeviceSettings {
            queues: queues?,
            rss: rss?,
            rss_key: rss_key?,
            mac: mac?,
        })
    }
}

fn own_address(text: &str, place: &Place<'_>) -> Option<IpNet> {
    let Ok(own) = text.parse::<IpNet>() else {
        let bare = text.split('/').next().unwrap_or(text);
        let example = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => format!("{v4}/24"),
            Ok(IpAddr::V6(v6)) => format!("{v6}/64"),
            Err(_) if text.contains(':') => "2001:db8::1/64".to_owned(),
            Err(_) => "10.0.0.1/24".to_owned(),
        };
        return place.wrong(
            format_args!("{text:?} is not an IPv4 or IPv6 address with prefix"),
            format_args!("write {example}"),
        );
    };
    unicast(own.addr(), text, place)?;
    let host_bits = own.max_prefix_len() - own.prefix_len();
    let what = if host_bits < 2 {
        return Some(own);
    } else if own.addr() == own.network() {
        "the network's own address"
    } else if own.addr().is_ipv4() && own.addr() == own.broadcast() {
        "the network's broadcast address"
    } else {
        return Some(own);
    };
    let first = own.hosts().find(|host| *host != own.network());
    let first = first.unwrap_or(own.addr());
    place.wrong(
        format_args!("{text:?} is {what}"),
        format_args!(
            "write the address of a host in it, like {first}/{}",
            own.prefix_len()
        ),
    )
}

fn rss_key(text: &str, place: &Place<'_>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|c| !b": ".contains(c)).collect();
    let key: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let hex = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
            hex.then(|| u8::from_str_radix(pair, 16).ok())?
        })
        .collect();
    match key {
        Some(key) if key.len() == 40 || key.len() == 52 => Some(key),
        _ => place.wrong(
            "not an RSS key",
            "write 40 bytes (52 for devices that want so many) as hexadecimal digits",
        ),
    }
}

fn mac(text: &str, place: &Place<'_>) -> Option<MacAddr> {
    match text.parse::<MacAddr>() {
        Ok(mac) if mac.is_unicast() => Some(mac),
        Ok(mac) => place.wrong(
            format_args!("{mac} is not the address of one station"),
            "write one with an even first byte, like 02:00:00:00:00:01",
        ),
        Err(why) => place.wrong(format_args!("{text:?} is not a MAC address"), why),
    }
}
