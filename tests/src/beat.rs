//! A datagram every millisecond, and how long none was answered.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::netns::Namespace;

/// Between two datagrams.
const PERIOD: Duration = Duration::from_millis(1);

/// Asks a [`UdpEcho`](crate::servers::UdpEcho) over and over, from one port.
#[derive(Debug)]
pub struct Beat {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Beat {
    /// Begins.
    ///
    /// # Panics
    /// If there is no socket to be had.
    #[track_caller]
    pub fn start(namespace: &Namespace, server: SocketAddr) -> Self {
        let socket = namespace
            .inside(|| UdpSocket::bind("0.0.0.0:0").and_then(|it| it.connect(server).map(|()| it)))
            .unwrap_or_else(|why| panic!("a socket to {server}: {why}"));
        let timeout = Some(Duration::from_millis(50));
        socket.set_read_timeout(timeout).expect("a timeout");
        let receiver = socket.try_clone().expect("a second handle");
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let sending = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Refused while nobody knows the way.
                    let _ = socket.send(b"beat");
                    std::thread::sleep(PERIOD);
                }
            })
        };
        let hearing = {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            std::thread::spawn(move || {
                let mut datagram = [0; 16];
                while !stop.load(Ordering::Relaxed) {
                    if receiver.recv(&mut datagram).is_ok() {
                        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                        answers.push(Instant::now());
                    }
                }
            })
        };
        Self {
            stop,
            answers,
            threads: vec![sending, hearing],
        }
    }

    /// The longest time without an answer that ended after `since`; up to now, if that is longer.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = None;
        let mut longest = Duration::ZERO;
        for at in answers.iter().copied().chain([Instant::now()]) {
            if let Some(last) = last.replace(at)
                && at > since
            {
                longest = longest.max(at - last);
            }
        }
        longest
    }

    /// Answers so far.
    pub fn answers(&self) -> usize {
        let answers = self.answers.lock();
        answers.unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
