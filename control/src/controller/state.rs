//! Workers, drops, ports and devices, as an operator looks at them: what [`Stats`] has by name and
//! [`Status`] has of links, put together with the ratios that one would work out by hand.
//!
//! [`Stats`]: super::Stats
//! [`Status`]: super::Status

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use sluice_dataplane::counters::DropReason;
use sluice_dataplane::io::DeviceId;
use sluice_dataplane::published::{Slot, Values, WorkerCounter};

use super::Controller;
use super::action::ActionError;
use super::devices::{DeviceCounters, Link};
use super::stats::{Counts, Reading};
use super::status::PortStatus;

/// How busy a worker is, since its start. Ratios over an interval come from the counters at its ends.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WorkerState {
    /// Its number.
    pub worker: usize,
    /// Its core.
    pub core: u16,
    /// Epoch of the configuration by which it works.
    pub epoch: u32,
    /// Sessions that it has, copies included.
    pub sessions: u64,
    /// Times that it looked at its queues.
    pub polls: u64,
    /// Times that it found something there.
    pub busy_polls: u64,
    /// `busy_polls / polls`. A worker polls all the time; where it sleeps when idle this says more.
    pub busy_share: f64,
    /// Nanoseconds that it spent in rounds that found something; their growth by the time that passed
    /// is its load, 1 at most.
    pub busy_ns: u64,
    /// Frames that its receive queues gave.
    pub received: u64,
    /// Bursts that they came in.
    pub bursts: u64,
    /// Frames of a burst, on average; the most is 64.
    pub burst_mean: f64,
    /// Nanoseconds of work for a received frame, on average; everything else that a worker does is in
    /// there.
    pub ns_per_frame: f64,
    /// The same in cycles of the time stamp counter, whose rate does not change with the core's clock;
    /// null where it is not known.
    pub cycles_per_frame: Option<f64>,
    /// Cycles per second of that counter, for work over an interval: the growth of `busy_ns` times
    /// `tsc_hz / 1e9`.
    pub tsc_hz: Option<u64>,
    /// Times that it slept because there was nothing.
    pub sleeps: u64,
}

/// Frames dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DropState {
    /// The reason.
    pub reason: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// How many, since the start.
    pub frames: u64,
    /// By worker, in the order of `system.workers`.
    pub workers: Vec<u64>,
}

/// A logical port, with its counters and those of its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PortState {
    /// What it is.
    #[serde(flatten)]
    pub port: PortStatus,
    /// What workers count on it, see [`sluice_dataplane::published::PortCounter`].
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counters: Counts,
    /// What its device counts by itself; ports that are VLANs of one device have the same.
    pub nic: DeviceCounters,
}

/// A device, with everything that it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeviceState {
    /// Its name.
    pub name: String,
    /// State of its link.
    pub link: Link,
    /// Its counters.
    pub counters: DeviceCounters,
    /// All of them, by its driver's names.
    pub extended: BTreeMap<String, u64>,
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

impl Controller {
    pub(super) fn worker_states(&self) -> Vec<WorkerState> {
        let tsc_hz = self.devices.tsc_hz();
        let workers = self.workers.iter().zip(&self.config.system.workers);
        let states = workers.enumerate().map(|(at, (worker, &core))| {
            let values = self.published.worker(at);
            let of = |counter| values.get(Slot::Worker(counter));
            let received = of(WorkerCounter::Received);
            let bursts = (0..sluice_dataplane::load::BURST_CLASSES)
                .map(|class| values.get(Slot::Burst(class)))
                .sum();
            let ns_per_frame = ratio(of(WorkerCounter::BusyNs), received);
            let (polls, busy) = (of(WorkerCounter::Polls), of(WorkerCounter::BusyPolls));
            WorkerState {
                worker: at,
                core,
                epoch: worker.epoch,
                sessions: of(WorkerCounter::SessionsV4) + of(WorkerCounter::SessionsV6),
                polls,
                busy_polls: busy,
                busy_share: ratio(busy, polls),
                busy_ns: of(WorkerCounter::BusyNs),
                received,
                bursts,
                burst_mean: ratio(received, bursts),
                ns_per_frame,
                cycles_per_frame: tsc_hz.map(|hz| ns_per_frame * hz as f64 / 1e9),
                tsc_hz,
                sleeps: of(WorkerCounter::Sleeps),
            }
        });
        states.collect()
    }

    /// All reasons, in the order in which a packet meets them.
    pub(super) fn drop_states(&self) -> Vec<DropState> {
        let workers: Vec<Values> = (0..self.published.workers())
            .map(|worker| self.published.worker(worker))
            .collect();
        let reasons = DropReason::ALL.iter().map(|&reason| {
            let of_workers: Vec<u64> = workers
                .iter()
                .map(|values| values.get(Slot::Drop(reason)))
                .collect();
            DropState {
                reason: reason.name(),
                meaning: reason.describe().trim(),
                frames: of_workers.iter().sum(),
                workers: of_workers,
            }
        });
        reasons.collect()
    }

    pub(super) fn port_states(&mut self, now: Instant) -> Vec<PortState> {
        let reading = Reading::of(&self.published);
        let ports = self.status(now).ports;
        let counted: Vec<(Counts, DeviceId)> = self
            .living_ports()
            .map(|(id, port)| (reading.port(&port.name, id).counts, port.device))
            .collect();
        let states = ports.into_iter().zip(counted);
        let states = states.map(|(port, (counters, device))| PortState {
            port,
            counters,
            nic: self.devices.counters(device),
        });
        states.collect()
    }

    pub(super) fn device_state(&mut self, name: &str) -> Result<DeviceState, ActionError> {
        let devices = &self.snapshot.devices;
        let named = devices.iter().position(|device| device.name == name);
        let of_port = || {
            let port = self.living_ports().find(|(_, port)| port.name == name);
            port.map(|(_, port)| usize::from(port.device.0))
        };
        let unknown = || {
            let devices = devices.iter().map(|device| device.name.clone());
            let ports = self.living_ports().map(|(_, port)| port.name.clone());
            ActionError::NoDevice {
                name: name.to_owned(),
                known: ports.chain(devices).collect::<Vec<_>>().join(", "),
            }
        };
        let at = named.or_else(of_port).ok_or_else(unknown)?;
        let device = devices.get(at).ok_or_else(unknown)?;
        let (name, id) = (device.name.clone(), DeviceId(at as u16));
        Ok(DeviceState {
            name,
            link: self.devices.link(id),
            counters: self.devices.counters(id),
            extended: self.devices.extended(id).into_iter().collect(),
        })
    }
}
