//! Which receive queue the device gives a frame to, and how much of that software may rely on.

use dpdk_sys as sys;

/// What the device is to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RssMode {
    /// Addresses, and the ports of unfragmented TCP and UDP.
    #[default]
    Tuple,
    /// The source address alone.
    Source,
    /// The destination address alone.
    Destination,
}

/// How a device is to spread frames over its receive queues.
#[derive(Debug, Clone)]
pub struct RssConfig {
    /// The Toeplitz key, 40 bytes; repeated for devices that want a longer one.
    pub key: [u8; 40],
    /// What is hashed.
    pub mode: RssMode,
}

/// Packets of one IP version that the device hashes as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashedFields {
    /// Packets that are none of those below, by addresses.
    pub other: bool,
    /// Fragments, by addresses.
    pub fragments: bool,
    /// Unfragmented TCP; in [`RssMode::Tuple`] with its ports.
    pub tcp: bool,
    /// Unfragmented UDP; in [`RssMode::Tuple`] with its ports.
    pub udp: bool,
}

impl HashedFields {
    fn all(self) -> bool {
        self.other && self.fragments && self.tcp && self.udp
    }
}

/// How the device spreads frames, as it was configured in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rss {
    /// The device places every IPv4 and IPv6 packet by `mode`, `key` and `table`, so that software
    /// need not look where it landed. Otherwise software places frames by the same function, whatever
    /// queue they came by.
    ///
    /// For `Source` and `Destination` the queue depends on that address alone, but which queue it is
    /// differs between drivers: compare [`Mbuf::rss_hash`](crate::Mbuf::rss_hash) before relying on it.
    pub hardware: bool,
    /// What is hashed.
    pub mode: RssMode,
    /// The key as the device has it, 40 bytes or more; empty without RSS.
    pub key: Vec<u8>,
    /// The redirection table: receive queue by hash modulo its length; empty without RSS.
    pub table: Vec<u16>,
    /// IPv4 packets that are hashed as asked.
    pub v4: HashedFields,
    /// IPv6 packets that are hashed as asked.
    pub v6: HashedFields,
}

/// What `mode` asks of a device, in DPDK's bits.
fn wanted(mode: RssMode) -> u64 {
    let packets = sys::SLUICE_RSS_IPV4
        | sys::SLUICE_RSS_FRAG_IPV4
        | sys::SLUICE_RSS_IPV4_TCP
        | sys::SLUICE_RSS_IPV4_UDP
        | sys::SLUICE_RSS_IPV4_OTHER
        | sys::SLUICE_RSS_IPV6
        | sys::SLUICE_RSS_FRAG_IPV6
        | sys::SLUICE_RSS_IPV6_TCP
        | sys::SLUICE_RSS_IPV6_UDP
        | sys::SLUICE_RSS_IPV6_OTHER;
    packets | modifier(mode)
}

/// The bit that narrows a hash to one address.
fn modifier(mode: RssMode) -> u64 {
    match mode {
        RssMode::Tuple => 0,
        RssMode::Source => sys::SLUICE_RSS_L3_SRC_ONLY,
        RssMode::Destination => sys::SLUICE_RSS_L3_DST_ONLY,
    }
}

/// The bits to ask a device for that offers `offered`; 0 if it cannot do `mode` at all.
pub(crate) fn request(mode: RssMode, offered: u64) -> u64 {
    if offered & modifier(mode) == modifier(mode) {
        let bits = wanted(mode) & offered;
        if bits & !modifier(mode) != 0 {
            return bits;
        }
    }
    0
}

/// The key in the length that the device wants (0 means the usual 40).
pub(crate) fn key_for(config: &RssConfig, device_len: u8) -> Vec<u8> {
    let len = match device_len {
        0 => config.key.len(),
        len => usize::from(len),
    };
    config.key.iter().copied().cycle().take(len).collect()
}

impl Rss {
    /// A device without RSS, or with one queue.
    pub(crate) fn none(mode: RssMode) -> Self {
        Self {
            hardware: false,
            mode,
            key: Vec::new(),
            table: Vec::new(),
            v4: HashedFields::default(),
            v6: HashedFields::default(),
        }
    }

    /// A device that took `bits`, `key` and `table` (empty if it does not show one).
    pub(crate) fn of(mode: RssMode, bits: u64, key: Vec<u8>, table: Vec<u16>) -> Self {
        let has = |bit: u64| bits & bit != 0;
        // Drivers that know no finer kinds put all of a version's other packets under its name.
        let v4 = HashedFields {
            other: has(sys::SLUICE_RSS_IPV4) || has(sys::SLUICE_RSS_IPV4_OTHER),
            fragments: has(sys::SLUICE_RSS_IPV4) || has(sys::SLUICE_RSS_FRAG_IPV4),
            tcp: has(sys::SLUICE_RSS_IPV4_TCP),
            udp: has(sys::SLUICE_RSS_IPV4_UDP),
        };
        let v6 = HashedFields {
            other: has(sys::SLUICE_RSS_IPV6) || has(sys::SLUICE_RSS_IPV6_OTHER),
            fragments: has(sys::SLUICE_RSS_IPV6) || has(sys::SLUICE_RSS_FRAG_IPV6),
            tcp: has(sys::SLUICE_RSS_IPV6_TCP),
            udp: has(sys::SLUICE_RSS_IPV6_UDP),
        };
        Self {
            hardware: v4.all() && v6.all() && !table.is_empty() && key.len() >= 40,
            mode,
            key,
            table,
            v4,
            v6,
        }
    }
}

/// Sets the redirection table to the queues in turn, and reads it back; empty if the device has none.
pub(crate) fn fill_table(port: u16, entries: u16, queues: u16) -> Vec<u16> {
    const GROUP: usize = sys::RTE_ETH_RETA_GROUP_SIZE as usize;
    let entries = usize::from(entries);
    if entries == 0 || queues == 0 {
        return Vec::new();
    }
    let mut groups = vec![
        sys::rte_eth_rss_reta_entry64 {
            mask: 0,
            reta: [0; GROUP],
        };
        entries.div_ceil(GROUP)
    ];
    for entry in 0..entries {
        let group = &mut groups[entry / GROUP];
        group.mask |= 1 << (entry % GROUP);
        // Less than `queues`, so it fits.
        group.reta[entry % GROUP] = (entry % usize::from(queues)) as u16;
    }
    // The same number that came as a u16.
    let size = entries as u16;
    // SAFETY: `groups` has an element for each 64 of `size` entries; both calls stay within them.
    let ok = unsafe {
        sys::rte_eth_dev_rss_reta_update(port, groups.as_mut_ptr(), size) == 0
            && sys::rte_eth_dev_rss_reta_query(port, groups.as_mut_ptr(), size) == 0
    };
    if !ok {
        return Vec::new();
    }
    (0..entries)
        .map(|entry| groups[entry / GROUP].reta[entry % GROUP])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RssConfig = RssConfig {
        key: [7; 40],
        mode: RssMode::Tuple,
    };

    #[test]
    fn a_device_that_hashes_no_udp_ports_is_not_relied_on() {
        let offered = wanted(RssMode::Tuple) & !sys::SLUICE_RSS_IPV6_UDP;
        let bits = request(RssMode::Tuple, offered);
        let rss = Rss::of(RssMode::Tuple, bits, key_for(&KEY, 0), vec![0, 1]);
        assert!(!rss.hardware && rss.v4.all() && !rss.v6.udp);
    }

    #[test]
    fn ixgbe_names_for_other_packets_will_do() {
        let bits = sys::SLUICE_RSS_IPV4
            | sys::SLUICE_RSS_IPV4_TCP
            | sys::SLUICE_RSS_IPV4_UDP
            | sys::SLUICE_RSS_IPV6
            | sys::SLUICE_RSS_IPV6_TCP
            | sys::SLUICE_RSS_IPV6_UDP;
        assert_eq!(request(RssMode::Tuple, bits), bits);
        let with = |table| Rss::of(RssMode::Tuple, bits, key_for(&KEY, 40), table).hardware;
        assert!(with(vec![0, 1]));
        assert!(!with(vec![]), "without a table nobody knows the queue");
    }

    #[test]
    fn one_address_is_asked_for_only_where_the_device_can() {
        let tuple = wanted(RssMode::Tuple);
        assert_eq!(request(RssMode::Source, tuple), 0);
        assert_eq!(
            request(RssMode::Source, tuple | sys::SLUICE_RSS_L3_SRC_ONLY),
            tuple | sys::SLUICE_RSS_L3_SRC_ONLY
        );
    }

    #[test]
    fn long_keys_repeat() {
        let key = key_for(&KEY, 52);
        assert_eq!(key.len(), 52);
        assert_eq!(key[40..], KEY.key[..12]);
    }
}
