//! Ping and traceroute: echo requests (RFC 792, RFC 4443) from the appliance's own addresses, by the
//! kernel's sockets for them in the network namespace of the host interface, so through the data plane.
//!
//! A run has a thread of its own, which says what it found probe by probe, and ends early when nobody
//! listens any more.

mod echo;
mod round;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::host;
use echo::Echo;
use round::Round;

/// Longest nap between two looks at whether somebody still listens.
const NAP: Duration = Duration::from_millis(100);
/// Lines that wait for a slow reader.
const LINES: usize = 16;

/// What is to be pinged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PingQuery {
    /// An address.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// Echo requests.
    #[serde(default = "five")]
    #[schema(minimum = 1, maximum = 100, default = 5)]
    pub count: u32,
    /// From one to the next, in milliseconds.
    #[serde(default = "second")]
    #[schema(minimum = 10, maximum = 10000, default = 1000)]
    pub interval_ms: u32,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "second")]
    #[schema(minimum = 10, maximum = 10000, default = 1000)]
    pub timeout_ms: u32,
}

/// Whose routers are to be found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TracerouteQuery {
    /// An address.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// Hops at most.
    #[serde(default = "thirty")]
    #[schema(minimum = 1, maximum = 64, default = 30)]
    pub max_hops: u32,
    /// Echo requests for each hop.
    #[serde(default = "three")]
    #[schema(minimum = 1, maximum = 10, default = 3)]
    pub probes: u32,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "second")]
    #[schema(minimum = 10, maximum = 10000, default = 1000)]
    pub timeout_ms: u32,
}

fn five() -> u32 {
    5
}

fn three() -> u32 {
    3
}

fn thirty() -> u32 {
    30
}

fn second() -> u32 {
    1000
}

/// A value that is out of range: its key, and what would do.
type Fault = (&'static str, String);

fn within(key: &'static str, value: u32, from: u32, to: u32) -> Result<(), Fault> {
    match (from..=to).contains(&value) {
        true => Ok(()),
        false => Err((key, format!("write a number from {from} to {to}"))),
    }
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Ping.
    Ping(PingQuery),
    /// Traceroute.
    Traceroute(TracerouteQuery),
}

impl Run {
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Ping(query) => {
                within("count", query.count, 1, 100)?;
                within("interval_ms", query.interval_ms, 10, 10_000)?;
                within("timeout_ms", query.timeout_ms, 10, 10_000)?;
            }
            Self::Traceroute(query) => {
                within("max_hops", query.max_hops, 1, 64)?;
                within("probes", query.probes, 1, 10)?;
                within("timeout_ms", query.timeout_ms, 10, 10_000)?;
            }
        }
        let to = self.destination();
        let broadcast = matches!(to, IpAddr::V4(to) if to.is_broadcast());
        if to.is_multicast() || to.is_unspecified() || broadcast {
            return Err(("destination", "write the address of one host".to_owned()));
        }
        Ok(())
    }

    fn destination(&self) -> IpAddr {
        match self {
            Self::Ping(query) => query.destination,
            Self::Traceroute(query) => query.destination,
        }
    }
}

/// What became of an echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The destination has answered.
    Reply,
    /// It got no further than a router, as its TTL was used up there.
    TimeExceeded,
    /// Somebody says that it cannot get there.
    Unreachable,
    /// Nobody said anything in time.
    Timeout,
    /// It could not be sent.
    NotSent,
}

/// An echo request, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProbeView {
    /// Numbers them from 1.
    pub sequence: u16,
    /// TTL or hop limit that it was sent with, of a traceroute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// In one word.
    pub answer: Answer,
    /// Who has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// Round trip in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// What the ICMP error says, or the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ProbeSummary {
    /// Echo requests that were sent.
    pub sent: u32,
    /// Replies of the destination.
    pub received: u32,
    /// Of those sent, how many had no reply of the destination, in percent.
    pub loss_percent: f64,
    /// Round trip of replies of the destination, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ms: Option<f64>,
    /// Their mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg_ms: Option<f64>,
    /// The longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
    /// Hops to the destination, of a traceroute that got there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hops: Option<u32>,
}

/// A line of what a run says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeLine {
    /// As they are done.
    Probe(ProbeView),
    /// The last line.
    Summary(ProbeSummary),
}

impl ProbeSummary {
    fn add(&mut self, probe: &ProbeView) {
        self.sent += 1;
        if let (Answer::Reply, Some(ms)) = (probe.answer, probe.rtt_ms) {
            let before = f64::from(self.received);
            self.received += 1;
            self.min_ms = Some(self.min_ms.map_or(ms, |min| min.min(ms)));
            self.max_ms = Some(self.max_ms.map_or(ms, |max| max.max(ms)));
            let sum = self.avg_ms.unwrap_or_default() * before + ms;
            self.avg_ms = Some(rounded(sum / f64::from(self.received)));
        }
        let lost = f64::from(self.sent - self.received);
        self.loss_percent = rounded(100.0 * lost / f64::from(self.sent));
    }
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Starts a run in the namespace at `place`. Its lines come by the receiver; without it the run ends.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(run: Run, place: PathBuf) -> std::io::Result<mpsc::Receiver<ProbeLine>> {
    let (lines, receiver) = mpsc::channel(LINES);
    let thread = std::thread::Builder::new().name("sluice-ping".to_owned());
    thread.spawn(move || {
        let entered = host::enter(&place);
        let echo = entered
            .map_err(|why| why.to_string())
            .and_then(|()| Echo::open(run.destination()).map_err(|why| why.to_string()));
        let mut runner = Runner {
            lines,
            summary: ProbeSummary::default(),
        };
        let ended = match echo {
            Ok(mut echo) => match &run {
                Run::Ping(query) => runner.ping(&mut echo, query),
                Run::Traceroute(query) => runner.traceroute(&mut echo, query),
            },
            Err(why) => {
                let probe = ProbeView::new(1, None, Answer::NotSent).because(why);
                runner.say(probe)
            }
        };
        if ended.is_ok() {
            let _ = runner
                .lines
                .blocking_send(ProbeLine::Summary(runner.summary));
        }
    })?;
    Ok(receiver)
}

impl ProbeView {
    fn new(sequence: u16, hop: Option<u32>, answer: Answer) -> Self {
        Self {
            sequence,
            hop,
            answer,
            from: None,
            rtt_ms: None,
            reason: None,
        }
    }

    fn because(self, why: impl fmt::Display) -> Self {
        Self {
            reason: Some(why.to_string()),
            ..self
        }
    }
}

/// Nobody listens any more.
struct Gone;

struct Runner {
    lines: mpsc::Sender<ProbeLine>,
    summary: ProbeSummary,
}

impl Runner {
    fn say(&mut self, probe: ProbeView) -> Result<(), Gone> {
        self.summary.add(&probe);
        let sent = self.lines.blocking_send(ProbeLine::Probe(probe));
        sent.map_err(|_| Gone)
    }

    /// One echo request, and what became of it.
    fn probe(&self, echo: &mut Echo, sequence: u16, timeout: Duration) -> Result<ProbeView, Gone> {
        let asked = match echo.send(sequence, None) {
            Ok(asked) => asked,
            Err(not_sent) => return Ok(not_sent),
        };
        let until = asked.begun + timeout;
        let mut known = None;
        while known.is_none() {
            if self.lines.is_closed() {
                return Err(Gone);
            }
            if Instant::now() >= until {
                return Ok(asked.view(Answer::Timeout));
            }
            echo.listen([&asked].into_iter(), until, &mut |view| {
                known.get_or_insert(view);
            });
        }
        known.ok_or(Gone)
    }

    fn ping(&mut self, echo: &mut Echo, query: &PingQuery) -> Result<(), Gone> {
        let interval = Duration::from_millis(query.interval_ms.into());
        let timeout = Duration::from_millis(query.timeout_ms.into());
        for sequence in 1..=query.count {
            let next = Instant::now() + interval;
            let probe = self.probe(echo, sequence as u16, timeout)?;
            self.say(probe)?;
            while sequence < query.count && Instant::now() < next {
                if self.lines.is_closed() {
                    return Err(Gone);
                }
                std::thread::sleep(NAP.min(next.saturating_duration_since(Instant::now())));
            }
        }
        Ok(())
    }

    /// Several hops at once, told of in their order.
    fn traceroute(&mut self, echo: &mut Echo, query: &TracerouteQuery) -> Result<(), Gone> {
        let timeout = Duration::from_millis(query.timeout_ms.into());
        let mut round = Round::new(query);
        loop {
            if self.lines.is_closed() {
                return Err(Gone);
            }
            while let Some((sequence, hop)) = round.next() {
                let sent = echo.send(sequence, Some(hop));
                round.sent(sent);
            }
            while let Some(probe) = round.told() {
                if probe.answer == Answer::Reply {
                    self.summary.hops = probe.hop;
                }
                self.say(probe)?;
            }
            let Some(begun) = round.oldest() else {
                return Ok(());
            };
            let mut known = Vec::new();
            let asked = round.waiting();
            echo.listen(asked, begun + timeout, &mut |view| known.push(view));
            known.into_iter().for_each(|view| round.know(view));
            round.expire(Instant::now(), timeout);
        }
    }
}

#[cfg(test)]
mod tests;
