//! What DPDK's own tools are told: counters by its telemetry socket, packets by `dpdk-dumpcap`.

use std::sync::Arc;

use sluice_dataplane::counters::DropReason;
use sluice_dataplane::published::{Published, Slot, WorkerCounter};
use sluice_dpdk::{Command, Eal, Numbers, Pages, serve_pdump, serve_telemetry};
use tracing::{info, warn};

const STATS: Command = Command {
    path: "/sluice/stats",
    help: "Counters of all workers together. Takes no parameters.",
};
const DROPS: Command = Command {
    path: "/sluice/drops",
    help: "Dropped frames by reason, of all workers together. Takes no parameters.",
};
const SESSIONS: Command = Command {
    path: "/sluice/sessions",
    help: "Sessions that there are now, by family. Takes no parameters.",
};

/// Serves them. That one of them cannot be had is no reason not to start.
pub(crate) fn serve(eal: Eal, pages: Pages, published: &Arc<Published>) {
    let published = Arc::clone(published);
    let source = move |command: &str| answer(&published, command);
    if let Err(error) = serve_telemetry(eal, &[STATS, DROPS, SESSIONS], source) {
        warn!("{error}");
    }
    // Without shared memory there is nobody who could attach.
    if pages == Pages::Shared {
        match serve_pdump(eal) {
            Ok(()) => info!("dpdk-dumpcap may attach"),
            Err(error) => warn!("dpdk-dumpcap cannot attach: {error}"),
        }
    }
}

fn answer(published: &Published, command: &str) -> Numbers {
    let worker = |counter: WorkerCounter| (counter.name(), published.sum(Slot::Worker(counter)));
    let is = |known: Command| command == known.path;
    if is(DROPS) {
        let all = DropReason::ALL.iter();
        all.map(|&reason| (reason.name(), published.sum(Slot::Drop(reason))))
            .collect()
    } else if is(SESSIONS) {
        let families = [WorkerCounter::SessionsV4, WorkerCounter::SessionsV6];
        families.map(worker).into()
    } else {
        WorkerCounter::ALL
            .iter()
            .map(|&counter| worker(counter))
            .collect()
    }
}
