//! A cable that delays, loses, doubles and holds up frames, and can be cut.
//!
//! Its ends are TAP interfaces in two namespaces; between them is a thread of this process. What it does
//! follows from a seed and the order in which frames come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::netns::Namespace;

/// Frames on their way at most; more are lost.
const ROOM: usize = 65_536;
/// Frames taken from one end before the other has its turn.
const TURN: usize = 256;
/// Larger than any frame.
const BUFFER: usize = 16_384;
/// How long it sleeps at most, milliseconds: until it hears that it is over.
const NAP_MS: u16 = 20;
/// What frames that are held up wait besides, at most.
const HELD_UP: Duration = Duration::from_millis(5);

/// What becomes of frames. The default is a good wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Impairment {
    /// On their way for so long, in each direction.
    pub delay: Duration,
    /// Lost, of a thousand.
    pub lost: u64,
    /// Delivered twice, of a thousand.
    pub doubled: u64,
    /// Held up, of a thousand, so that others overtake them.
    pub held_up: u64,
}

/// What became of frames so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Delivered, copies of doubled ones not counted.
    pub delivered: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Delivered twice.
    pub doubled: u64,
    /// Held up.
    pub held_up: u64,
    /// Sent while the wire was cut.
    pub cut: u64,
    /// Lost since there was no room for them.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
struct Settings {
    impairment: Impairment,
    cut: bool,
    carried: Carried,
}

/// See the module's description. Dropping it removes its ends.
#[derive(Debug)]
pub struct Wire {
    settings: Arc<Mutex<Settings>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Between two namespaces, where both ends have this name. Good until it is said otherwise.
    ///
    /// # Panics
    /// If the interfaces cannot be made.
    pub fn between(ends: [&Namespace; 2], name: &str, seed: u64) -> Self {
        let settings = Arc::new(Mutex::new(Settings::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let ends = ends.map(|namespace| namespace.inside(|| tap(name)));
        let carrier = Carrier {
            ends,
            random: seed,
            waiting: BinaryHeap::new(),
            number: 0,
        };
        let thread = {
            let (settings, stop) = (Arc::clone(&settings), Arc::clone(&stop));
            std::thread::spawn(move || carrier.run(&settings, &stop))
        };
        Self {
            settings,
            stop,
            thread: Some(thread),
        }
    }

    /// Makes it worse or better. Frames that are on their way arrive as they would have.
    pub fn impair(&self, impairment: Impairment) {
        self.set(|settings| settings.impairment = impairment);
    }

    /// Cuts it; what is on its way is lost.
    pub fn cut(&self) {
        self.set(|settings| settings.cut = true);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.set(|settings| settings.cut = false);
    }

    /// What became of frames so far.
    pub fn carried(&self) -> Carried {
        self.set(|settings| settings.carried)
    }

    fn set<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        change(&mut self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An interface in the calling thread's namespace, which it does not outlive.
fn tap(name: &str) -> SyncDevice {
    let device = DeviceBuilder::new()
        .name(name)
        .layer(Layer::L2)
        .tx_queue_len(ROOM as u32 / 4)
        .build_sync()
        .unwrap_or_else(|why| panic!("cannot make the TAP interface {name}: {why}"));
    device
        .set_nonblocking(true)
        .unwrap_or_else(|why| panic!("{name}: {why}"));
    device
}

/// A frame on its way: when it arrives, its number, where, and its bytes.
type Due = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Carrier {
    ends: [SyncDevice; 2],
    random: u64,
    waiting: BinaryHeap<Due>,
    number: u64,
}

impl Carrier {
    fn run(mut self, settings: &Mutex<Settings>, stop: &AtomicBool) {
        let mut buffer = vec![0; BUFFER];
        while !stop.load(Ordering::Relaxed) {
            self.sleep();
            let mut settings = settings.lock().unwrap_or_else(PoisonError::into_inner);
            for from in [0, 1] {
                for _ in 0..TURN {
                    let Ok(length) = self.ends[from].recv(&mut buffer) else {
                        break;
                    };
                    self.take(&buffer[..length], 1 - from, &mut settings);
                }
            }
            if settings.cut {
                settings.carried.cut += self.waiting.len() as u64;
                self.waiting.clear();
            }
            self.deliver();
        }
    }

    /// Until a frame comes, or one has to be delivered.
    fn sleep(&self) {
        let nap = self.waiting.peek().map(|Reverse((due, ..))| {
            let left = due.saturating_duration_since(Instant::now());
            u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX)
        });
        let timeout = PollTimeout::from(nap.unwrap_or(NAP_MS).min(NAP_MS));
        let [one, other] = &self.ends;
        let readable = |end| PollFd::new(end, PollFlags::POLLIN);
        let _ = poll(
            &mut [readable(one.as_fd()), readable(other.as_fd())],
            timeout,
        );
    }

    fn take(&mut self, frame: &[u8], to: usize, settings: &mut Settings) {
        let Settings {
            impairment,
            cut,
            carried,
        } = settings;
        if *cut {
            carried.cut += 1;
            return;
        }
        if self.chance(impairment.lost) {
            carried.lost += 1;
            return;
        }
        if self.waiting.len() >= ROOM {
            carried.overflowed += 1;
            return;
        }
        carried.delivered += 1;
        let mut due = Instant::now() + impairment.delay;
        if self.chance(impairment.held_up) {
            carried.held_up += 1;
            due += HELD_UP;
        }
        let doubled = self.chance(impairment.doubled);
        carried.doubled += u64::from(doubled);
        for _ in 0..1 + usize::from(doubled) {
            self.number += 1;
            let arrival = (due, self.number, to, frame.to_vec());
            self.waiting.push(Reverse(arrival));
        }
    }

    /// Delivers what is due. An interface that is down takes nothing.
    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, ..))) = self.waiting.peek()
            && *due <= now
        {
            if let Some(Reverse((_, _, to, frame))) = self.waiting.pop() {
                let _ = self.ends[to].send(&frame);
            }
        }
    }

    /// True so many times of a thousand (SplitMix64).
    fn chance(&mut self, of_a_thousand: u64) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % 1000 < of_a_thousand
    }
}
