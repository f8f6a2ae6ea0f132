//! Which worker is home to which tuple: RSS, as the NIC does it or in software.
//!
//! A device hashes the tuple of a packet with its key (Toeplitz), and the low bits of the hash pick
//! an entry of its redirection table, which names a worker. What is computed here is what the NIC
//! computes, so that NAT can choose a port whose replies come home by themselves, and so that
//! devices without RSS are steered alike.
//!
//! Keys, fields and redirection tables are fixed while the process lives. A table that changed would
//! take live sessions from under their leases: their replies would come home to workers that do not
//! know them. A device is therefore given its table at start and never another one; a change of
//! them in the configuration takes a restart.
//!
//! Give devices between which routes may move sessions (two uplinks) the same key and table: then a
//! reply comes home whichever of them it arrives by.

use std::net::IpAddr;
use std::sync::Arc;

use sluice_wire::key::pack_ports;
use sluice_wire::{Family, Toeplitz, Tuple, V4, V6, proto};
use zerocopy::IntoBytes;

use crate::io::DeviceId;

/// The homes of tuples, for every device.
#[derive(Debug, Clone, Default)]
pub struct Steering {
    workers: u16,
    devices: Vec<Device>,
}

/// What a device hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fields {
    /// Addresses and ports of unfragmented TCP and UDP, the addresses of everything else.
    #[default]
    Tuple,
    /// The source address only, as if it were all there is.
    Source,
    /// The destination address only, at the source's place in the hash: with one key, what goes out
    /// under [`Fields::Source`] on one device comes back to the same worker under this on another.
    Destination,
}

/// How one device spreads packets over workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Toeplitz key, 40 bytes or more.
    pub key: Vec<u8>,
    /// What is hashed.
    pub fields: Fields,
    /// Redirection table: workers by the low bits of the hash. Its length is a power of two.
    pub table: Vec<u16>,
}

/// A [`Spread`] that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpreadError {
    /// Fewer than 40 bytes.
    #[error("device {}: an RSS key has at least 40 bytes", device.0)]
    ShortKey {
        /// The device.
        device: DeviceId,
    },
    /// Empty, or not a power of two.
    #[error("device {}: the redirection table has {len} entries, which is no power of two", device.0)]
    TableSize {
        /// The device.
        device: DeviceId,
        /// Entries given.
        len: usize,
    },
    /// An entry names a worker that there is not.
    #[error("device {}: the redirection table names worker {worker}, of {workers}", device.0)]
    NoSuchWorker {
        /// The device.
        device: DeviceId,
        /// The entry.
        worker: u16,
        /// How many there are.
        workers: u16,
    },
}

#[derive(Debug, Clone)]
struct Device {
    toeplitz: Arc<Toeplitz>,
    fields: Fields,
    table: Box<[u16]>,
    /// Every worker is in the table, so each can have replies come home.
    reaches_all: bool,
}

impl Device {
    #[inline]
    fn worker(&self, hash: u32) -> u16 {
        let mask = self.table.len() - 1;
        self.table
            .get(hash as usize & mask)
            .copied()
            .unwrap_or_default()
    }

    /// The share of the addresses in the hash.
    #[inline]
    fn addrs<F: Family>(&self, addrs: F::Addrs) -> u32 {
        match self.fields {
            Fields::Tuple => self.toeplitz.addrs::<F>(addrs),
            Fields::Source => self.toeplitz.addrs::<F>(first_only::<F>(addrs)),
            Fields::Destination => self.toeplitz.addrs::<F>(first_only::<F>(F::swap(addrs))),
        }
    }

    #[inline]
    fn hashes_ports(&self, protocol: u8, whole: bool) -> bool {
        self.fields == Fields::Tuple && has_ports(protocol) && whole
    }
}

/// The first address, and zeros, which add nothing to a Toeplitz hash.
#[inline]
fn first_only<F: Family>(mut addrs: F::Addrs) -> F::Addrs {
    let bytes = addrs.as_mut_bytes();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    addrs
}

/// Protocols of which NICs hash the ports.
#[inline]
const fn has_ports(protocol: u8) -> bool {
    protocol == proto::TCP || protocol == proto::UDP
}

impl Steering {
    /// Compiles the spreads of all devices, by [`DeviceId`], over `workers` workers (at least 1).
    ///
    /// # Errors
    /// The first [`SpreadError`] found.
    pub fn new(workers: u16, spreads: &[Spread]) -> Result<Self, SpreadError> {
        let workers = workers.max(1);
        let mut devices: Vec<Device> = Vec::with_capacity(spreads.len());
        for (at, spread) in spreads.iter().enumerate() {
            let device = DeviceId(at as u16);
            let len = spread.table.len();
            if !len.is_power_of_two() {
                return Err(SpreadError::TableSize { device, len });
            }
            if let Some(&worker) = spread.table.iter().find(|&&worker| worker >= workers) {
                return Err(SpreadError::NoSuchWorker {
                    device,
                    worker,
                    workers,
                });
            }
            // The tables of a key take 36 KiB: devices with one key share them, and the cache.
            let same = spreads[..at].iter().position(|s| s.key == spread.key);
            let toeplitz = match same {
                Some(before) => devices[before].toeplitz.clone(),
                None => Arc::new(
                    Toeplitz::new(&spread.key).map_err(|_| SpreadError::ShortKey { device })?,
                ),
            };
            devices.push(Device {
                toeplitz,
                fields: spread.fields,
                table: spread.table.clone().into(),
                reaches_all: (0..workers).all(|worker| spread.table.contains(&worker)),
            });
        }
        Ok(Self { workers, devices })
    }

    /// How many workers there are.
    #[inline]
    pub fn workers(&self) -> u16 {
        self.workers.max(1)
    }

    /// The home worker of a packet that arrives by `device`: addresses and ports in wire order as in
    /// [`sluice_wire::Key`]. `whole`: not a fragment. Devices that are not known have worker 0.
    #[inline]
    pub fn home<F: Family>(
        &self,
        device: DeviceId,
        addrs: F::Addrs,
        ports: u32,
        protocol: u8,
        whole: bool,
    ) -> u16 {
        if self.workers <= 1 {
            return 0;
        }
        let Some(device) = self.devices.get(usize::from(device.0)) else {
            return 0;
        };
        let mut hash = device.addrs::<F>(addrs);
        if device.hashes_ports(protocol, whole) {
            hash ^= device.toeplitz.ports::<F>(ports);
        }
        device.worker(hash)
    }

    /// The home worker of whole packets of a tuple that arrive by `device`.
    pub fn home_of(&self, device: DeviceId, tuple: &Tuple) -> u16 {
        let ports = pack_ports(tuple.sport, tuple.dport);
        let Tuple {
            proto, src, dst, ..
        } = *tuple;
        if src.is_ipv4() {
            self.home::<V4>(device, V4::pack(src, dst), ports, proto, true)
        } else {
            self.home::<V6>(device, V6::pack(src, dst), ports, proto, true)
        }
    }

    /// The homes of replies that arrive by `device`, by their destination port. `reply` is their
    /// tuple; its own destination port does not matter.
    pub fn replies(&self, device: DeviceId, reply: &Tuple) -> ReplyHomes<'_> {
        let workers = self.workers();
        let device = self
            .devices
            .get(usize::from(device.0))
            .filter(|_| workers > 1);
        let Some(device) = device else {
            return ReplyHomes {
                device: None,
                workers,
                rest: 0,
                v6: false,
                port_counts: false,
            };
        };
        let port_counts = device.hashes_ports(reply.proto, true);
        let (src, dst, sport) = (reply.src, reply.dst, reply.sport);
        let v6 = matches!((src, dst), (IpAddr::V6(_), _));
        let (addrs, sport) = if v6 {
            (
                device.addrs::<V6>(V6::pack(src, dst)),
                device.toeplitz.sport::<V6>(sport),
            )
        } else {
            (
                device.addrs::<V4>(V4::pack(src, dst)),
                device.toeplitz.sport::<V4>(sport),
            )
        };
        ReplyHomes {
            device: Some(device),
            workers,
            rest: if port_counts { addrs ^ sport } else { addrs },
            v6,
            port_counts,
        }
    }
}

/// The homes of the replies that differ in nothing but their destination port. Each costs two loads.
#[derive(Debug, Clone, Copy)]
pub struct ReplyHomes<'a> {
    device: Option<&'a Device>,
    workers: u16,
    /// Hash of all but the port.
    rest: u32,
    v6: bool,
    port_counts: bool,
}

impl ReplyHomes<'_> {
    /// The home of the replies to `port`.
    #[inline]
    pub fn home(&self, port: u16) -> u16 {
        let Some(device) = self.device else { return 0 };
        let share = match (self.port_counts, self.v6) {
            (false, _) => 0,
            (true, false) => device.toeplitz.dport::<V4>(port),
            (true, true) => device.toeplitz.dport::<V6>(port),
        };
        device.worker(self.rest ^ share)
    }

    /// Whether the port chooses among all workers.
    #[inline]
    pub fn steerable(&self) -> bool {
        self.workers <= 1 || self.port_counts && self.device.is_some_and(|d| d.reaches_all)
    }

    /// Whether worker `me` may lease `port`. Every port is exactly one worker's to lease, so that no
    /// two workers lease one tuple: the home of its replies where the port can steer them, else by
    /// the port's number, in pairs of an even and an odd one.
    #[inline]
    pub fn claims(&self, me: u16, port: u16) -> bool {
        if self.steerable() {
            self.home(port) == me
        } else {
            (port >> 1) % self.workers == me
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_wire::toeplitz::MICROSOFT_KEY;

    use super::*;

    fn spread(fields: Fields, table: Vec<u16>) -> Spread {
        Spread {
            key: MICROSOFT_KEY.to_vec(),
            fields,
            table,
        }
    }

    fn tuple(protocol: u8) -> Tuple {
        Tuple {
            proto: protocol,
            src: "66.9.149.187".parse().unwrap(),
            dst: "161.142.100.80".parse().unwrap(),
            sport: 2794,
            dport: 1766,
        }
    }

    /// The verification suite's first vector hashes to 0x51ccc178 with ports, 0x323e8fc2 without.
    #[test]
    fn the_low_bits_of_the_nics_hash_pick_the_entry() {
        let table = (0..128).collect();
        let steering = Steering::new(128, &[spread(Fields::Tuple, table)]).unwrap();
        let device = DeviceId(0);
        assert_eq!(steering.home_of(device, &tuple(6)), 0x78);
        assert_eq!(steering.home_of(device, &tuple(17)), 0x78);
        assert_eq!(steering.home_of(device, &tuple(1)), 0x42, "addresses only");
        assert_eq!(steering.home_of(device, &tuple(132)), 0x42);
        let Tuple { src, dst, .. } = tuple(6);
        let fragment = steering.home::<V4>(device, V4::pack(src, dst), 0x1234, 6, false);
        assert_eq!(fragment, 0x42, "fragments go by addresses");
    }

    #[test]
    fn source_on_one_device_and_destination_on_the_other_meet() {
        let table: Vec<u16> = (0..8).collect();
        let spreads = [
            spread(Fields::Source, table.clone()),
            spread(Fields::Destination, table),
        ];
        let steering = Steering::new(8, &spreads).unwrap();
        let there = tuple(6);
        for dport in 0..100 {
            let there = Tuple { dport, ..there };
            assert_eq!(
                steering.home_of(DeviceId(0), &there),
                steering.home_of(DeviceId(1), &there.reverse())
            );
        }
    }

    #[test]
    fn impossible_spreads_are_refused() {
        let new = |workers, table: &[u16]| {
            Steering::new(workers, &[spread(Fields::Tuple, table.to_vec())]).map(|_| ())
        };
        let device = DeviceId(0);
        assert_eq!(new(2, &[]), Err(SpreadError::TableSize { device, len: 0 }));
        assert_eq!(
            new(2, &[0, 1, 0]),
            Err(SpreadError::TableSize { device, len: 3 })
        );
        assert_eq!(
            new(2, &[0, 2]),
            Err(SpreadError::NoSuchWorker {
                device,
                worker: 2,
                workers: 2
            })
        );
        let short = Spread {
            key: vec![0; 39],
            ..spread(Fields::Tuple, vec![0])
        };
        assert_eq!(
            Steering::new(1, &[short]).map(|_| ()),
            Err(SpreadError::ShortKey { device })
        );
    }

    fn any_ip(v6: bool) -> BoxedStrategy<IpAddr> {
        if v6 {
            any::<u128>()
                .prop_map(|bits| IpAddr::V6(bits.into()))
                .boxed()
        } else {
            any::<u32>()
                .prop_map(|bits| IpAddr::V4(bits.into()))
                .boxed()
        }
    }

    proptest! {
        /// The search for a port and the steering of the reply that it gets agree, or replies would
        /// come to workers that do not know them.
        #[test]
        fn reply_homes_are_the_homes_of_replies(
            (src, dst) in any::<bool>().prop_flat_map(|v6| (any_ip(v6), any_ip(v6))),
            key in prop::collection::vec(any::<u8>(), 40),
            fields in prop::sample::select(vec![Fields::Tuple, Fields::Source, Fields::Destination]),
            workers in 1u16..=16, bits in 0u32..8, seed in any::<u16>(),
            protocol in prop::sample::select(vec![1u8, 6, 17, 47]),
            sport in any::<u16>(), dports in prop::collection::vec(any::<u16>(), 20),
        ) {
            let table = (0..1u16 << bits).map(|at| at.wrapping_mul(seed | 1) % workers).collect();
            let spread = Spread { key, fields, table };
            let steering = Steering::new(workers, &[spread]).unwrap();
            let reply = Tuple { proto: protocol, src, dst, sport, dport: 0 };
            let homes = steering.replies(DeviceId(0), &reply);
            for dport in dports {
                let home = steering.home_of(DeviceId(0), &Tuple { dport, ..reply });
                prop_assert_eq!(homes.home(dport), home);
                let claimants = (0..workers).filter(|&me| homes.claims(me, dport));
                prop_assert_eq!(claimants.count(), 1, "exactly one worker may lease a port");
                if homes.steerable() {
                    prop_assert!(homes.claims(home, dport));
                }
            }
        }
    }
}
