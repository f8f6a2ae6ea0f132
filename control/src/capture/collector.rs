//! The thread of a capture: takes what the taps have, and makes a file of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pcap_file::PcapError;
use sluice_dataplane::capture::{QUEUE, Record, TapEnd};

use super::pcapng::{File, Interfaces};
use super::{Capture, Over};

/// Between two looks at the taps. Workers wake nobody.
const NAP: Duration = Duration::from_millis(2);
/// How long workers may take to give their taps back when the capture is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Collects what is captured.
pub(crate) struct Collector {
    capture: Capture,
    ends: Vec<TapEnd>,
    file: File,
    until: Instant,
}

impl Collector {
    /// For a capture by these taps, in the order of workers. `program` made the file.
    ///
    /// # Errors
    /// If the file cannot be begun.
    pub(crate) fn new(
        capture: Capture,
        ends: Vec<TapEnd>,
        program: &str,
        interfaces: &Interfaces,
    ) -> Result<Self, PcapError> {
        let spec = &capture.0.spec;
        let mut file = File::new(program, interfaces, &spec.filter, spec.snaplen)?;
        let until = Instant::now() + Duration::from_secs(spec.seconds.into());
        capture.contents().file = file.take();
        Ok(Self {
            capture,
            ends,
            file,
            until,
        })
    }

    /// Runs to the end of the capture.
    pub(crate) fn run(mut self) {
        let mut ended = None;
        loop {
            // Looked at before the queues: what a tap that is gone has left is in them.
            let alone = self.ends.iter().all(TapEnd::is_alone);
            let records = self.collect();
            let idle = records.is_empty();
            if let Err(error) = self.write(records) {
                tracing::error!(%error, "a capture cannot be written");
                self.capture.stop();
            }
            let over = self.judge();
            let since = over.map(|_| *ended.get_or_insert_with(Instant::now));
            if since.is_some_and(|since| (alone && idle) || since.elapsed() > PATIENCE) {
                break;
            }
            if idle {
                std::thread::sleep(NAP);
            }
        }
        self.capture.contents().closed = true;
        self.capture.0.changes.send_replace(());
    }

    /// What the taps have, in the order of time.
    fn collect(&self) -> Vec<(usize, Record)> {
        let mut records = Vec::new();
        for (worker, end) in self.ends.iter().enumerate() {
            let taken = std::iter::from_fn(|| end.receive()).take(QUEUE);
            records.extend(taken.map(|record| (worker, record)));
        }
        // Of one burst, what came is before what was sent for it.
        records.sort_by_key(|(_, record)| (record.at_ns, record.fate.is_tx()));
        records
    }

    fn write(&mut self, records: Vec<(usize, Record)>) -> Result<(), PcapError> {
        if records.is_empty() {
            return Ok(());
        }
        let most = self.capture.0.spec.max_bytes;
        let (mut bytes, mut packets, mut full) = (Vec::new(), 0, false);
        let before = self.capture.contents().file.len() as u64;
        for (worker, record) in records {
            if !full {
                self.file.add(worker, &record)?;
                let block = self.file.take();
                full = before + (bytes.len() + block.len()) as u64 > most;
                if !full {
                    bytes.extend(block);
                    packets += 1;
                }
            }
            if let Some(end) = self.ends.get(worker) {
                end.give_back(record);
            }
        }
        let mut contents = self.capture.contents();
        if !contents.forgotten {
            contents.file.extend(bytes);
            contents.packets += packets;
        }
        if full {
            contents.over.get_or_insert(Over::Size);
        }
        drop(contents);
        self.capture.0.changes.send_replace(());
        Ok(())
    }

    /// Whether it is over, and why.
    fn judge(&self) -> Option<Over> {
        let stopped = self.capture.0.stop.load(Ordering::Relaxed);
        let late = Instant::now() >= self.until;
        let sum = |count: fn(&TapEnd) -> u64| self.ends.iter().map(count).sum();
        let mut contents = self.capture.contents();
        contents.missed = sum(TapEnd::missed);
        contents.limited = sum(TapEnd::limited);
        if stopped {
            contents.over.get_or_insert(Over::Stopped);
        } else if late {
            contents.over.get_or_insert(Over::Time);
        }
        contents.over
    }
}
