//! What clients get when real servers have as many sessions as they may.

use crate::world;

use std::num::NonZeroU32;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::mailbox::{EndRequest, Filter, FromWorker, RequestId, ToWorker};
use sluice_dataplane::published::{FlowCounter, Slot, WorkerCounter};
use sluice_dataplane::services::{Definition, Target};
use sluice_dataplane::snapshot::{
    LbMode, Local, RealServer, Scheduler, ServerId, ServerState, ServiceId, SessionLimits, Tier,
    TierKind, VirtualServer,
};
use sluice_wire::proto;
use sluice_wire::tcp::flag::SYN;
use world::packet::tcp;
use world::{OUTSIDE, Setup, World, ip};

fn server(host: &str, most: u32) -> Option<RealServer> {
    Some(RealServer {
        name: format!("web/{host}"),
        address: ip(host),
        port: Some(8080),
        weight: 1,
        state: ServerState::Up,
        limits: SessionLimits {
            open: NonZeroU32::new(most),
            per_second: None,
        },
    })
}

/// 192.0.2.100:80: two servers of 3 sessions each, a backup of 2, and a sorry server of 1, so that
/// there is an end to it.
fn limited(workers: u16) -> Setup {
    let tier = |kind, members: &[u16]| Tier {
        kind,
        members: members.iter().copied().map(ServerId).collect(),
        scheduler: Scheduler::LeastConnections,
    };
    Setup {
        workers,
        virtual_servers: vec![VirtualServer {
            service: ServiceId(1),
            name: "web".into(),
            ports: Some((80, 80)),
            mode: LbMode::Dnat,
            tiers: vec![
                tier(TierKind::Pool, &[1, 2]),
                tier(TierKind::Backup, &[3]),
                tier(TierKind::Sorry, &[4]),
            ],
            persistence: None,
            redirect: None,
            snat_pool: None,
            timeouts: 0,
            clamp_mss: None,
        }],
        servers: vec![
            None,
            server("10.0.0.11", 3),
            server("10.0.0.12", 3),
            server("10.0.0.13", 2),
            server("10.0.0.14", 1),
        ],
        services: vec![Definition {
            address: ip("192.0.2.100"),
            proto: Some(proto::TCP),
            ports: Some((80, 80)),
            target: Target::VirtualServer(0),
        }],
        local: vec![(ip("192.0.2.100"), Local::Vip)],
        ..Setup::default()
    }
}

fn syn(port: u16) -> Vec<u8> {
    tcp("203.0.113.9", port, "192.0.2.100", 80, SYN, 1000, 0).to(OUTSIDE)
}

/// Opens a connection, and gives the last byte of its server's address.
fn connect(world: &mut World, port: u16) -> u8 {
    world.arrive_at += 1;
    world.through(OUTSIDE, &syn(port))[33]
}

fn overflowed(world: &mut World) -> u64 {
    world.accounts();
    let service = ServiceId(1);
    world
        .published
        .sum(Slot::Service(service, FlowCounter::Overflowed))
}

#[test]
fn sessions_go_to_the_pool_then_to_the_backup_then_to_the_sorry_server_then_nowhere() {
    for workers in [1, 3] {
        let mut world = limited(workers).start();
        let mut got = [0; 4];
        for port in 3000..3006 {
            got[usize::from(connect(&mut world, port) - 11)] += 1;
        }
        assert_eq!(got, [3, 3, 0, 0], "{workers} workers");
        assert_eq!(overflowed(&mut world), 0);
        assert_eq!(connect(&mut world, 3006), 13);
        assert_eq!(connect(&mut world, 3007), 13);
        assert_eq!(connect(&mut world, 3008), 14);
        assert_eq!(overflowed(&mut world), 3);
        world.dropped(OUTSIDE, &syn(3009), DropReason::Overloaded);
        assert_eq!(world.count(WorkerCounter::SessionsOpened), 9);
        // Those that are there go on.
        assert_eq!(
            connect(&mut world, 3000),
            11,
            "the same SYN, the same server"
        );

        // One ends: its place is the next one's to take.
        for control in &world.control {
            let filter = Filter {
                server: Some(ServerId(2)),
                ..Filter::default()
            };
            let request = EndRequest::new(RequestId(1), filter);
            control
                .send(ToWorker::EndSessions(Box::new(request)))
                .unwrap();
        }
        world.settle();
        world.pass_time(5);
        let ended = world.control.iter().map(|control| match control.receive() {
            Some(FromWorker::Ended(ended)) => ended.ended,
            other => panic!("{other:?}"),
        });
        assert_eq!(ended.sum::<u64>(), 3);
        for port in 3010..3013 {
            assert_eq!(connect(&mut world, port), 12);
        }
        world.dropped(OUTSIDE, &syn(3013), DropReason::Overloaded);
    }
}

#[test]
fn a_session_that_finds_no_way_out_leaves_no_place_taken() {
    let mut setup = limited(1);
    // Nobody routes to the first tier's servers, so the sessions are not opened.
    for server in setup.servers.iter_mut().flatten().take(2) {
        server.address = ip("224.0.0.9");
    }
    let mut world = setup.start();
    for port in 3000..3010 {
        // The client is told so by ICMP.
        world.arrive(OUTSIDE, &syn(port));
        world.left(OUTSIDE);
    }
    assert_eq!(world.drop_count(DropReason::NoRoute), 10);
    world.swap(&limited(1));
    for port in 3010..3016 {
        assert!(connect(&mut world, port) < 13);
    }
    assert_eq!(connect(&mut world, 3016), 13);
}
