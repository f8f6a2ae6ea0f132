//! Packet captures: what is to be captured, and what was.
//!
//! A capture is a tap at each worker (`sluice_dataplane::capture`) and a thread that makes pcapng of
//! what the taps give, in memory, until its time or its room is over. It can be read while it grows.

mod collector;
mod filter;
mod pcapng;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sluice_dataplane::capture::bpf::Program;
use sluice_dataplane::capture::{CaptureId, MOST};
use tokio::sync::watch;
use utoipa::ToSchema;

pub(crate) use collector::Collector;
pub use filter::{FilterError, compile};
pub(crate) use pcapng::Interfaces;

/// Captures that are kept at a time, those included that are over.
pub const KEPT: usize = MOST;
/// Bytes that a capture may have at most.
pub const MAX_BYTES: u64 = 64 << 20;
/// Seconds that it may last at most.
pub const MAX_SECONDS: u32 = 3600;
/// Frames a second of each worker at most.
pub const MAX_RATE: u32 = 1_000_000;
/// Bytes of a frame at least, and at most.
pub const SNAPLEN: std::ops::RangeInclusive<u32> = 14..=65_535;

/// What is to be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureSpec {
    /// A filter as of `tcpdump` (pcap-filter(7)); empty for everything. A VLAN tag is there also where
    /// the device takes it out.
    pub filter: String,
    /// Names of ports, and of the device of the link to the other appliance; empty for all ports.
    pub ports: Vec<String>,
    /// Frames of that link too.
    pub ha: bool,
    /// Bytes of each frame that are kept.
    #[schema(minimum = 14, maximum = 65535)]
    pub snaplen: u32,
    /// Ends when the file has so many bytes.
    #[schema(minimum = 1024, maximum = 67108864)]
    pub max_bytes: u64,
    /// Ends after so many seconds.
    #[schema(minimum = 1, maximum = 3600)]
    pub seconds: u32,
    /// Frames a second that each worker captures at most; further ones are counted.
    #[schema(minimum = 1, maximum = 1000000)]
    pub packets_per_second: u32,
}

impl Default for CaptureSpec {
    fn default() -> Self {
        Self {
            filter: String::new(),
            ports: Vec::new(),
            ha: false,
            snaplen: *SNAPLEN.end(),
            max_bytes: 16 << 20,
            seconds: 60,
            packets_per_second: 10_000,
        }
    }
}

impl CaptureSpec {
    /// The first value that is out of range: its key, and what would do.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let range = |key, from: u64, to: u64| (key, format!("write a number from {from} to {to}"));
        let (least, most) = (u64::from(*SNAPLEN.start()), u64::from(*SNAPLEN.end()));
        if !SNAPLEN.contains(&self.snaplen) {
            Some(range("snaplen", least, most))
        } else if !(1024..=MAX_BYTES).contains(&self.max_bytes) {
            Some(range("max_bytes", 1024, MAX_BYTES))
        } else if !(1..=MAX_SECONDS).contains(&self.seconds) {
            Some(range("seconds", 1, MAX_SECONDS.into()))
        } else if !(1..=MAX_RATE).contains(&self.packets_per_second) {
            Some(range("packets_per_second", 1, MAX_RATE.into()))
        } else {
            None
        }
    }
}

/// A capture that is to begin: checked, its filter compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCapture {
    /// As it was asked for.
    pub spec: CaptureSpec,
    /// Its filter.
    pub program: Program,
}

/// Why a capture is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Its time.
    Time,
    /// Its room.
    Size,
    /// Somebody stopped it.
    Stopped,
}

/// A capture, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaptureView {
    /// Names it.
    pub id: u64,
    /// Whether it goes on.
    pub running: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// Frames in it.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Frames that matched and are not in it, because they came too fast to be taken.
    pub missed: u64,
    /// Frames that matched and are not in it, because they were beyond `packets_per_second`.
    pub limited: u64,
    /// What was asked for.
    pub spec: CaptureSpec,
}

/// What a capture has so far.
#[derive(Debug, Default)]
struct Contents {
    /// pcapng.
    file: Vec<u8>,
    packets: u64,
    missed: u64,
    limited: u64,
    over: Option<Over>,
    /// Nothing will come any more.
    closed: bool,
    /// It was deleted, and what it had is gone.
    forgotten: bool,
}

/// The capture was deleted while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the capture was deleted")]
pub struct Forgotten;

/// A capture. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Capture(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: CaptureId,
    spec: CaptureSpec,
    started: String,
    contents: Mutex<Contents>,
    /// Somebody wants it to end.
    stop: AtomicBool,
    /// Changes whenever `contents` does.
    changes: watch::Sender<()>,
}

impl Capture {
    pub(crate) fn new(id: CaptureId, spec: CaptureSpec) -> Self {
        let (changes, _) = watch::channel(());
        Self(Arc::new(Inner {
            id,
            spec,
            started: crate::clock::now(),
            contents: Mutex::default(),
            stop: AtomicBool::new(false),
            changes,
        }))
    }

    /// Names it.
    pub fn id(&self) -> CaptureId {
        self.0.id
    }

    /// As it is now.
    pub fn view(&self) -> CaptureView {
        let contents = self.contents();
        CaptureView {
            id: self.0.id.0,
            running: !contents.closed,
            over: contents.over,
            started: self.0.started.clone(),
            packets: contents.packets,
            bytes: contents.file.len() as u64,
            missed: contents.missed,
            limited: contents.limited,
            spec: self.0.spec.clone(),
        }
    }

    /// Ends it soon; what was captured stays.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Ends it soon, and gives back the memory of what it has, whoever still reads it.
    pub fn forget(&self) {
        self.stop();
        let mut contents = self.contents();
        contents.file = Vec::new();
        contents.forgotten = true;
        drop(contents);
        self.0.changes.send_replace(());
    }

    /// Whether workers may stop capturing.
    pub(crate) fn is_over(&self) -> bool {
        self.contents().over.is_some()
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.contents().closed
    }

    /// The file from `offset` on, `most` bytes of it; waits for some if `follow`. `None` at its end.
    ///
    /// # Errors
    /// [`Forgotten`]
    pub async fn read(
        &self,
        offset: usize,
        most: usize,
        follow: bool,
    ) -> Result<Option<Vec<u8>>, Forgotten> {
        let mut changes = self.0.changes.subscribe();
        loop {
            {
                let contents = self.contents();
                if contents.forgotten {
                    return Err(Forgotten);
                }
                let rest = contents.file.get(offset..).unwrap_or_default();
                if !rest.is_empty() {
                    return Ok(Some(rest[..rest.len().min(most)].to_vec()));
                }
                if contents.closed || !follow {
                    return Ok(None);
                }
            }
            // The sender is as old as `self`.
            let _ = changes.changed().await;
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // What a thread that panicked wrote is whole blocks all the same.
        let contents = self.0.contents.lock();
        contents.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_that_is_deleted_keeps_nothing_for_those_who_read_it() {
        let capture = Capture::new(CaptureId(1), CaptureSpec::default());
        capture.contents().file = vec![7; 1000];
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let reader = capture.clone();
            assert_eq!(reader.read(0, 600, true).await, Ok(Some(vec![7; 600])));
            let waits = async { reader.read(1000, 600, true).await };
            let (read, ()) = tokio::join!(waits, async { capture.forget() });
            assert_eq!(read, Err(Forgotten), "who waits for more is told");
            assert_eq!(reader.read(600, 600, false).await, Err(Forgotten));
            assert_eq!(reader.contents().file.capacity(), 0);
        });
    }
}
