//! Connections that live long, and say something every now and then; and who answers them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::netns::Namespace;
use crate::wait;

/// Bytes that a connection says at a time: its count of them.
const WORD: usize = 8;
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(20);
const EVENTS: usize = 256;
/// The listener among the server's events.
const LISTENER: u64 = u64::MAX;

fn poll_readable(epoll: &Epoll, timeout_ms: u16, mut visit: impl FnMut(u64)) {
    let mut events = [EpollEvent::empty(); EVENTS];
    let ready = epoll.wait(&mut events, EpollTimeout::from(timeout_ms));
    for event in &events[..ready.unwrap_or(0)] {
        visit(event.data());
    }
}

fn watch(epoll: &Epoll, what: impl std::os::fd::AsFd, data: u64) {
    epoll
        .add(what, EpollEvent::new(EpollFlags::EPOLLIN, data))
        .expect("a descriptor to watch");
}

/// Sends back what it is told on any number of connections.
#[derive(Debug)]
pub struct TcpEcho {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TcpEcho {
    /// Listens.
    ///
    /// # Panics
    /// If it cannot.
    #[track_caller]
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Self {
        let listener = namespace
            .inside(|| TcpListener::bind(address))
            .unwrap_or_else(|why| panic!("cannot listen on {address}: {why}"));
        listener.set_nonblocking(true).expect("a listener");
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || echo(&listener, &asked));
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for TcpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn echo(listener: &TcpListener, stop: &AtomicBool) {
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    watch(&epoll, listener, LISTENER);
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        poll_readable(&epoll, 50, |which| {
            if which == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    if stream.set_nonblocking(true).is_ok() {
                        watch(&epoll, &stream, streams.len() as u64);
                        streams.push(Some(stream));
                    }
                }
                return;
            }
            let Some(place) = streams.get_mut(which as usize) else {
                return;
            };
            let Some(stream) = place else { return };
            match stream.read(&mut buffer) {
                // What is said is so little that there is always room for it.
                Ok(length @ 1..) => {
                    let _ = stream.write_all(&buffer[..length]);
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => *place = None,
            }
        });
    }
}

/// Connections to a [`TcpEcho`].
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// By connection: words said, and words answered.
    said: Vec<AtomicU64>,
    answered: Vec<AtomicU64>,
    failures: Mutex<Vec<String>>,
}

impl Steady {
    /// Opens `count` of them, one after the other, each of which says something every `period` whether
    /// it was answered or not.
    ///
    /// # Panics
    /// If one cannot be opened.
    #[track_caller]
    pub fn start(
        namespace: &Arc<Namespace>,
        server: SocketAddr,
        count: usize,
        period: Duration,
    ) -> Self {
        let streams = namespace.inside(|| {
            let streams = (0..count).map(|at| {
                let stream = TcpStream::connect_timeout(&server, PATIENCE)
                    .unwrap_or_else(|why| panic!("connection {at} to {server}: {why}"));
                stream.set_nonblocking(true).expect("a stream");
                stream.set_nodelay(true).expect("a stream");
                stream
            });
            streams.collect::<Vec<_>>()
        });
        let counters = || (0..count).map(|_| AtomicU64::new(0)).collect();
        let state = Arc::new(State {
            said: counters(),
            answered: counters(),
            failures: Mutex::default(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            std::thread::spawn(move || talk(streams, &state, &stop, period))
        };
        Self {
            stop,
            state,
            thread: Some(thread),
        }
    }

    /// Waits until each connection was answered something that it says from now on, or has failed.
    ///
    /// # Panics
    /// If one is not answered in time.
    #[track_caller]
    pub fn expect_answers(&self) {
        let count = |all: &[AtomicU64]| -> Vec<u64> {
            let loads = all.iter().map(|one| one.load(Ordering::Relaxed));
            loads.collect()
        };
        let before = count(&self.state.said);
        wait::expect("all connections to be answered", || {
            let answered = count(&self.state.answered);
            let silent = answered.iter().zip(&before).filter(|(a, b)| a <= b);
            silent.count() <= self.failures().len()
        });
    }

    /// Why connections have failed so far.
    pub fn failures(&self) -> Vec<String> {
        let failures = self.state.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends them, and gives what [`failures`](Self::failures) would.
    pub fn finish(mut self) -> Vec<String> {
        self.end();
        self.failures()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.end();
    }
}

fn talk(streams: Vec<TcpStream>, state: &State, stop: &AtomicBool, period: Duration) {
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    let count = streams.len();
    // With what is read of a word that is not complete.
    let mut streams: Vec<_> = streams.into_iter().map(|one| Some((one, vec![]))).collect();
    for (at, stream) in streams.iter().flatten().enumerate() {
        watch(&epoll, &stream.0, at as u64);
    }
    let fail = |at: usize, why: &str| {
        let failures = state.failures.lock();
        let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
        failures.push(format!("connection {at}: {why}"));
    };
    let begun = Instant::now();
    let mut turns = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        // Evenly spread over the period.
        let due = begun.elapsed().as_nanos() * count as u128 / period.as_nanos();
        while u128::from(turns) < due {
            let at = (turns % count as u64) as usize;
            turns += 1;
            let said = state.said[at].load(Ordering::Relaxed) + 1;
            if let Some((stream, _)) = &mut streams[at] {
                match stream.write_all(&said.to_be_bytes()) {
                    Ok(()) => state.said[at].store(said, Ordering::Relaxed),
                    Err(why) => {
                        fail(at, &format!("sending word {said}: {why}"));
                        streams[at] = None;
                    }
                }
            }
        }
        poll_readable(&epoll, 2, |which| {
            let at = which as usize;
            if let Some((stream, rest)) = &mut streams[at]
                && let Err(why) = hear(stream, rest, &state.answered[at])
            {
                fail(at, &why);
                streams[at] = None;
            }
        });
    }
}

/// Reads what there is, which must be the next words.
fn hear(stream: &mut TcpStream, rest: &mut Vec<u8>, answered: &AtomicU64) -> Result<(), String> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => return Err("closed by the server".to_owned()),
        Ok(length) => rest.extend_from_slice(&buffer[..length]),
        Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(why) => return Err(format!("receiving: {why}")),
    }
    while let Some((word, _)) = rest.split_first_chunk::<WORD>() {
        let (word, next) = (
            u64::from_be_bytes(*word),
            answered.load(Ordering::Relaxed) + 1,
        );
        if word != next {
            return Err(format!("word {word} instead of {next}"));
        }
        answered.store(next, Ordering::Relaxed);
        rest.drain(..WORD);
    }
    Ok(())
}
