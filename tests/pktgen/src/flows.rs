//! Tuples by number: many flows without a table.

use std::net::Ipv4Addr;

use crate::permutation::Permutation;

/// Source address, destination address and both ports as they stand in an IPv4 packet without
/// options: its bytes from 12 to 24.
pub(crate) type TupleBytes = [u8; 12];

/// Ranges of IPv4 addresses, one after another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<(u32, u32)>);

impl Addresses {
    /// Appends the addresses from `first` to `last`, both included.
    pub(crate) fn push(&mut self, first: Ipv4Addr, last: Ipv4Addr) {
        self.0.push((first.to_bits(), last.to_bits()));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        let count = |&(first, last): &(u32, u32)| u64::from(last - first) + 1;
        self.0.iter().map(count).sum()
    }

    /// The address at this place; past the end, 0.0.0.0.
    #[inline]
    pub(crate) fn at(&self, mut place: u32) -> Ipv4Addr {
        for &(first, last) in &self.0 {
            if place <= last - first {
                return Ipv4Addr::from_bits(first + place);
            }
            place -= last - first + 1;
        }
        Ipv4Addr::UNSPECIFIED
    }

    /// Where the address stands, if it is one of these.
    #[inline]
    pub(crate) fn place(&self, address: Ipv4Addr) -> Option<u32> {
        let address = address.to_bits();
        let mut before = 0;
        for &(first, last) in &self.0 {
            if (first..=last).contains(&address) {
                return Some(before + (address - first));
            }
            before += last - first + 1;
        }
        None
    }
}

/// A range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The first.
    pub(crate) first: u16,
    /// The last, included.
    pub(crate) last: u16,
}

impl Ports {
    /// How many there are.
    pub(crate) fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

/// Division by a number that is known beforehand, as a multiplication.
#[derive(Debug, Clone, Copy)]
struct Divisor {
    value: u32,
    /// 2^64 / value, rounded up; 0 for the value 1.
    inverse: u64,
}

impl Divisor {
    fn new(value: u32) -> Self {
        let value = value.max(1);
        Self {
            value,
            inverse: (u64::MAX / u64::from(value)).wrapping_add(1),
        }
    }

    /// Quotient and remainder. Exact for every 32-bit number (Lemire, Kaser, Kurz 2019).
    #[inline]
    fn divide(self, number: u32) -> (u32, u32) {
        if self.value == 1 {
            return (number, 0);
        }
        let quotient = ((u128::from(self.inverse) * u128::from(number)) >> 64) as u32;
        (quotient, number - quotient * self.value)
    }
}

/// In which order flows send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By number.
    Sequential,
    /// Randomly, each once a round.
    Random,
}

/// What flows are made of: every combination of addresses and ports, as many as are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    sources: Addresses,
    destinations: Addresses,
    source_ports: Ports,
    destination_ports: Ports,
    by_source: Divisor,
    by_destination: Divisor,
    by_source_port: Divisor,
    flows: u32,
}

impl Space {
    /// Combinations that there are.
    pub(crate) fn size(
        sources: &Addresses,
        destinations: &Addresses,
        source_ports: Ports,
        destination_ports: Ports,
    ) -> u64 {
        sources
            .len()
            .saturating_mul(destinations.len())
            .saturating_mul(u64::from(source_ports.len()))
            .saturating_mul(u64::from(destination_ports.len()))
    }

    /// The first `flows` combinations: at least one, and not more than there are.
    pub(crate) fn new(
        sources: Addresses,
        destinations: Addresses,
        source_ports: Ports,
        destination_ports: Ports,
        flows: u32,
    ) -> Self {
        // A space of more than 2^32 addresses is one of which only the first are used.
        let divisor = |len: u64| Divisor::new(u32::try_from(len).unwrap_or(u32::MAX));
        Self {
            by_source: divisor(sources.len()),
            by_destination: divisor(destinations.len()),
            by_source_port: Divisor::new(source_ports.len()),
            sources,
            destinations,
            source_ports,
            destination_ports,
            flows: flows.max(1),
        }
    }

    /// Number of flows.
    pub(crate) fn flows(&self) -> u32 {
        self.flows
    }

    /// The tuple of a flow. Addresses change fastest, so that few flows use all of them.
    #[inline]
    pub(crate) fn tuple(&self, flow: u32) -> TupleBytes {
        let (rest, source) = self.by_source.divide(flow);
        let (rest, destination) = self.by_destination.divide(rest);
        let (destination_port, source_port) = self.by_source_port.divide(rest);
        let [a, b, c, d] = self.sources.at(source).octets();
        let [e, f, g, h] = self.destinations.at(destination).octets();
        // Each is less than its range is long, or the space would not have so many flows.
        let [i, j] = (self.source_ports.first + source_port as u16).to_be_bytes();
        let [k, l] = self
            .destination_ports
            .first
            .wrapping_add(destination_port as u16)
            .to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl Space {
    /// The flow that has this tuple.
    #[inline]
    pub(crate) fn flow(&self, tuple: &TupleBytes) -> Option<u32> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *tuple;
        let offset = |first: u16, port: [u8; 2], count: u32| {
            let offset = u32::from(u16::from_be_bytes(port).checked_sub(first)?);
            (offset < count).then_some(offset)
        };
        let source = self.sources.place(Ipv4Addr::new(a, b, c, d))?;
        let destination = self.destinations.place(Ipv4Addr::new(e, f, g, h))?;
        let source_port = offset(self.source_ports.first, [i, j], self.source_ports.len())?;
        let destination_port = offset(
            self.destination_ports.first,
            [k, l],
            self.destination_ports.len(),
        )?;
        let flow = u64::from(destination_port) * u64::from(self.source_ports.len());
        let flow = (flow + u64::from(source_port)) * self.destinations.len();
        let flow = (flow + u64::from(destination)) * self.sources.len() + u64::from(source);
        (flow < u64::from(self.flows)).then_some(flow as u32)
    }

    /// Whether an address is one of the sources.
    #[inline]
    pub(crate) fn is_source(&self, address: Ipv4Addr) -> bool {
        self.sources.place(address).is_some()
    }
}

/// Goes round the flows, in order or at random.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    order: Order,
    permutation: Permutation,
    flows: u32,
    place: u32,
}

impl Cursor {
    /// At the beginning of a round.
    pub(crate) fn new(flows: u32, order: Order) -> Self {
        Self {
            order,
            permutation: Permutation::new(flows),
            flows: flows.max(1),
            place: 0,
        }
    }

    /// The next flow.
    #[inline]
    pub(crate) fn next(&mut self) -> u32 {
        let place = self.place;
        self.place = if place + 1 < self.flows { place + 1 } else { 0 };
        match self.order {
            Order::Sequential => place,
            Order::Random => self.permutation.at(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn addresses(ranges: &[(u32, u32)]) -> Addresses {
        let mut addresses = Addresses::default();
        for &(first, len) in ranges {
            addresses.push(first.into(), (first + len - 1).into());
        }
        addresses
    }

    #[test]
    fn addresses_have_places_across_ranges() {
        let addresses = addresses(&[(10, 3), (100, 2)]);
        assert_eq!(addresses.len(), 5);
        let listed: Vec<u32> = (0..5).map(|place| addresses.at(place).to_bits()).collect();
        assert_eq!(listed, [10, 11, 12, 100, 101]);
        for (place, address) in (0..).zip(listed) {
            assert_eq!(addresses.place(address.into()), Some(place));
        }
        assert_eq!(addresses.at(5), Ipv4Addr::UNSPECIFIED);
        for outside in [9, 13, 99, 102] {
            assert_eq!(addresses.place(outside.into()), None);
        }
    }

    #[test]
    fn a_tuple_has_its_fields_in_the_order_of_the_packet() {
        let space = Space::new(
            addresses(&[(0x0a00_0001, 2)]),
            addresses(&[(0xc633_640a, 1)]),
            Ports {
                first: 1024,
                last: 1025,
            },
            Ports {
                first: 53,
                last: 54,
            },
            8,
        );
        assert_eq!(space.tuple(0), [10, 0, 0, 1, 198, 51, 100, 10, 4, 0, 0, 53]);
        assert_eq!(space.tuple(1), [10, 0, 0, 2, 198, 51, 100, 10, 4, 0, 0, 53]);
        assert_eq!(space.tuple(2), [10, 0, 0, 1, 198, 51, 100, 10, 4, 1, 0, 53]);
        assert_eq!(space.tuple(7), [10, 0, 0, 2, 198, 51, 100, 10, 4, 1, 0, 54]);
    }

    #[test]
    fn a_million_flows_are_a_million_tuples_in_either_order() {
        let space = Space::new(
            addresses(&[(0x0a00_0002, 30), (0x0a00_1000, 34)]),
            addresses(&[(0xc633_640a, 16)]),
            Ports {
                first: 64_535,
                last: 65_535,
            },
            Ports {
                first: 53,
                last: 54,
            },
            1_032_192,
        );
        for order in [Order::Sequential, Order::Random] {
            let mut cursor = Cursor::new(space.flows(), order);
            let mut seen = HashSet::new();
            for _ in 0..space.flows() {
                assert!(seen.insert(space.tuple(cursor.next())));
            }
            assert!(!seen.insert(space.tuple(cursor.next())), "a new round");
        }
    }

    proptest! {
        #[test]
        fn division_is_exact(value in 1_u32.., number: u32) {
            let (quotient, rest) = Divisor::new(value).divide(number);
            prop_assert_eq!((quotient, rest), (number / value, number % value));
        }

        #[test]
        fn tuples_are_distinct(
            sources in 1_u32..20, destinations in 1_u32..20,
            source_ports in 0_u16..20, destination_ports in 0_u16..20,
        ) {
            let (sources, destinations) = (addresses(&[(7, sources)]), addresses(&[(9, destinations)]));
            let source_ports = Ports { first: 5, last: 5 + source_ports };
            let destination_ports = Ports { first: 65_500, last: 65_500 + destination_ports };
            let size = Space::size(&sources, &destinations, source_ports, destination_ports);
            let flows = size as u32;
            let space = Space::new(sources, destinations, source_ports, destination_ports, flows);
            let all: HashSet<_> = (0..flows).map(|flow| space.tuple(flow)).collect();
            prop_assert_eq!(all.len() as u64, size);
            for flow in 0..flows {
                prop_assert_eq!(space.flow(&space.tuple(flow)), Some(flow));
            }
            let fewer = Space { flows: flows / 2 + 1, ..space.clone() };
            prop_assert_eq!(fewer.flow(&space.tuple(flows / 2 + 1)), None);
        }
    }
}
