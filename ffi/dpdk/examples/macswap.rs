//! Swaps the MAC addresses of frames between two devices: the least that a forwarder can do, and so
//! the measure of what this crate adds to DPDK.
//!
//!     macswap WORKER_CORE CONTROL_CORE SECONDS DEVICE DEVICE

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use sluice_dataplane::io::{DeviceId, Frame, Io};
use sluice_dpdk::{
    Clock, Device, Eal, EalConfig, Mbuf, Pool, PoolConfig, PortConfig, Started, WorkerIo, thread,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [worker, control, seconds, devices @ ..] = &arguments[..] else {
        return Err("macswap WORKER_CORE CONTROL_CORE SECONDS DEVICE DEVICE".into());
    };
    let seconds: u64 = seconds.parse()?;
    let eal = Eal::init(&EalConfig {
        control_cores: vec![control.parse()?],
        ..EalConfig::default()
    })?;
    let pool = Pool::create(eal, &PoolConfig::for_mtu(32_768, 1500))?;
    let mut io = WorkerIo::new(pool);
    let mut ports = Vec::new();
    for (id, device) in (0..).map(DeviceId).zip(devices) {
        let device = Device::probe(eal, &device.parse()?)?;
        let Started { port, rx, tx } = device.start(&PortConfig::default(), &pool)?;
        io.add_rx(id, rx);
        for queue in tx {
            io.set_tx(id, queue);
        }
        ports.push(port);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let clock = Clock::start(eal);
    let worker = thread::spawn(eal, worker.parse()?, "worker-0", move || {
        forward(io, clock, &stopped)
    })?;
    std::thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let frames = worker.join()?;
    for port in ports {
        println!("{} {:?}", port.info().name, port.stats());
    }
    println!(
        "{frames} frames forwarded, {} buffers in use",
        pool.in_use()
    );
    Ok(())
}

fn forward(mut io: WorkerIo, clock: Clock, stop: &AtomicBool) -> u64 {
    let mut frames = 0;
    let mut rx = ArrayVec::new();
    let mut tx: ArrayVec<Mbuf, 128> = ArrayVec::new();
    while !stop.load(Ordering::Relaxed) {
        for (from, to) in [(DeviceId(0), DeviceId(1)), (DeviceId(1), DeviceId(0))] {
            io.rx(from, &mut rx);
            std::hint::black_box(clock.now_ms());
            for ahead in rx.iter().take(4) {
                ahead.prefetch();
            }
            for at in 0..rx.len() {
                if let Some(ahead) = rx.get(at + 4) {
                    ahead.prefetch();
                }
                if let Some((macs, _)) = rx[at].bytes_mut().split_first_chunk_mut::<12>() {
                    let (destination, source) = macs.split_at_mut(6);
                    destination.swap_with_slice(source);
                }
            }
            frames += rx.len() as u64;
            tx.extend(rx.drain(..));
            io.tx(to, &mut tx);
            io.free(&mut tx);
        }
    }
    frames
}
