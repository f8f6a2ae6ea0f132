//! The host's kernel, as the appliance sees it.

use sluice_dataplane::host;

use super::{Setup, World, packet};

/// The kernel sends a packet, by the worker that its answer will come to.
pub fn kernel_sends(world: &mut World, setup: &Setup, packet: &packet::Spec) {
    let packet = packet.packet();
    let header = host::ethernet_header(&packet).unwrap();
    let home = host::home(&setup.snapshot(), &[header.as_slice(), &packet].concat());
    assert!(world.host[usize::from(home)].inject(&packet));
    world.settle();
}

/// What the kernel got, with the number of the port whose interface it came by.
pub fn kernel_got(world: &mut World) -> Vec<(u16, Vec<u8>)> {
    let mut got = vec![];
    for host in &world.host {
        while let Some(parcel) = host.receive() {
            got.push((parcel.port().0, parcel.bytes().to_vec()));
            host.give_back(parcel);
        }
    }
    got
}
