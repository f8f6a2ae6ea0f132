//! Does what a [`Plan`] says, and tells step by step.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tokio::sync::mpsc;

use super::plan::{Client, Plan, ServerPlan, ServicePlan};
use super::{ConnectivityLine, ConnectivitySummary, StepResult, Verdict};
use crate::config::{CheckKind, Words};
use crate::controller::{Action, Handle, Neighbour, Outcome};
use crate::health::{Attempt, Failure, Prober};
use crate::trace::{TraceQuery, TraceView};

/// Real servers that are tried at once.
const AT_ONCE: usize = 32;
/// How long a test may take altogether.
const LIMIT: Duration = Duration::from_secs(120);
/// Lines that wait for a slow reader.
const LINES: usize = 16;
/// The stages of a trace that say what is decided about a client's packet.
const TELLING: [&str; 11] = [
    "session",
    "host",
    "peer",
    "service",
    "mapping",
    "last_resort",
    "server",
    "route",
    "policy",
    "source",
    "neighbour",
];

/// Begins a test. Its lines come by the receiver; without it the test ends.
pub(crate) fn start(plan: Plan, handle: Handle) -> mpsc::Receiver<ConnectivityLine> {
    let (lines, receiver) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let begun = Instant::now();
        let mut teller = Teller {
            lines: lines.clone(),
            summary: ConnectivitySummary::default(),
        };
        let told = tokio::select! {
            told = run(&plan, &handle, &mut teller, begun) => told,
            () = lines.closed() => return,
        };
        if told.is_ok() {
            let mut summary = teller.summary;
            summary.ms = milliseconds(begun.elapsed());
            let _ = lines.send(ConnectivityLine::Summary(summary)).await;
        }
    });
    receiver
}

/// Nobody listens any more.
struct Gone;

struct Teller {
    lines: mpsc::Sender<ConnectivityLine>,
    summary: ConnectivitySummary,
}

impl Teller {
    async fn tell(&mut self, step: StepResult) -> Result<(), Gone> {
        self.summary.add(step.verdict);
        let sent = self.lines.send(ConnectivityLine::Step(step)).await;
        sent.map_err(|_| Gone)
    }
}

/// To a thousandth.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}

async fn run(
    plan: &Plan,
    handle: &Handle,
    teller: &mut Teller,
    begun: Instant,
) -> Result<(), Gone> {
    if plan.prober.is_none() && !plan.servers.is_empty() {
        let text = "there is none, so nothing can be sent to real servers; \
                    give the configuration a [host] section";
        teller
            .tell(StepResult::new("host", Verdict::Warning, text))
            .await?;
    }
    let mut reached = BTreeMap::new();
    for servers in plan.servers.chunks(AT_ONCE) {
        if begun.elapsed() > LIMIT {
            for server in servers {
                let text = "there was no time left for it";
                let step = StepResult::new("state", Verdict::Skipped, text);
                teller.tell(server.named(step)).await?;
            }
            continue;
        }
        let tried = join_all(servers.iter().map(|server| server.attempts(plan))).await;
        // What was sent has made the data plane ask for next hops.
        let neighbours = match handle.call(Action::ListNeighbours).await {
            Ok(Outcome::Neighbours(neighbours)) => Ok(neighbours),
            Ok(_) => Err("they cannot be listed".to_owned()),
            Err(why) => Err(why.to_string()),
        };
        for (server, tried) in servers.iter().zip(tried) {
            let mut good = true;
            for step in server.steps(tried, neighbours.as_deref()) {
                good &= step.verdict != Verdict::Failed;
                teller.tell(step).await?;
            }
            if plan.prober.is_some() {
                reached.insert(server.name.as_str(), good && !server.out);
            }
        }
    }
    for service in &plan.services {
        for step in service.steps(handle, &reached).await {
            teller.tell(step).await?;
        }
        if begun.elapsed() > LIMIT {
            continue;
        }
        for step in service.through.steps(plan.prober.as_ref()).await {
            let virtual_server = Some(service.name.clone());
            teller
                .tell(StepResult {
                    virtual_server,
                    ..step
                })
                .await?;
        }
    }
    Ok(())
}

/// What came of an attempt: how it failed, and how long it took.
type Tried = Option<(Result<(), Failure>, Duration)>;

/// What came of a real server's attempts.
struct Attempts {
    ping: Tried,
    connects: Vec<(SocketAddr, Tried)>,
    checks: Vec<(String, Tried)>,
}

pub(super) async fn attempt(prober: Option<&Prober>, attempt: Attempt) -> Tried {
    prober?.attempt(attempt).await
}

impl ServerPlan {
    fn named(&self, step: StepResult) -> StepResult {
        StepResult {
            server: Some(self.name.clone()),
            ..step
        }
    }

    /// All of them at once.
    async fn attempts(&self, plan: &Plan) -> Attempts {
        let prober = plan.prober.as_ref();
        let make = |address, kind| Attempt {
            address,
            host: None,
            kind,
            timeout_ms: plan.timeout_ms,
        };
        let echo = make(SocketAddr::new(self.address, 0), CheckKind::Icmp);
        let connects = join_all(self.connects.iter().map(|&to| async move {
            let kind = CheckKind::Tcp(Words::default());
            (to, attempt(prober, make(to, kind)).await)
        }));
        let checks =
            join_all(self.checks.iter().map(|(name, check)| async {
                (name.clone(), attempt(prober, check.clone()).await)
            }));
        let (ping, (connects, checks)) = join(attempt(prober, echo), join(connects, checks)).await;
        Attempts {
            ping,
            connects,
            checks,
        }
    }

    fn steps(&self, tried: Attempts, neighbours: Result<&[Neighbour], &String>) -> Vec<StepResult> {
        let (verdict, text) = self.state.clone();
        let mut steps = vec![StepResult::new("state", verdict, text)];
        match &self.route {
            None => {
                let text = format!("there is no route to {}", self.address);
                steps.push(StepResult::new("route", Verdict::Failed, text));
            }
            Some((port, via)) => {
                let text = match *via == self.address {
                    true => format!("directly by {port}"),
                    false => format!("via {via} by {port}"),
                };
                steps.push(StepResult::new("route", Verdict::Ok, text));
                steps.push(neighbour(port, *via, neighbours));
            }
        }
        let address = self.address;
        steps.push(tell(
            "ping",
            &tried.ping,
            Verdict::Warning,
            |why| match why {
                None => format!("{address} answers"),
                Some(why) => format!("{address}: {why}"),
            },
        ));
        if tried.connects.is_empty() {
            steps.push(StepResult::new(
                "connect",
                Verdict::Skipped,
                self.no_connect,
            ));
        }
        for (to, tried) in &tried.connects {
            let bad = match self.direct_return {
                true => Verdict::Warning,
                false => Verdict::Failed,
            };
            steps.push(tell("connect", tried, bad, |why| match why {
                None => format!("{to} takes connections"),
                Some(why) => format!("{to}: {why}"),
            }));
        }
        for (name, tried) in &tried.checks {
            steps.push(tell("check", tried, Verdict::Failed, |why| match why {
                None => format!("{name} finds it up"),
                Some(why) => format!("{name}: {why}"),
            }));
        }
        let softened = steps.into_iter().map(|mut step| {
            if self.out && step.verdict == Verdict::Failed {
                step.verdict = Verdict::Warning;
            }
            self.named(step)
        });
        softened.collect()
    }
}

/// An attempt as a step; `bad` is what it is if it failed.
pub(super) fn tell(
    step: &'static str,
    tried: &Tried,
    bad: Verdict,
    text: impl Fn(Option<&Failure>) -> String,
) -> StepResult {
    match tried {
        None => StepResult::new(step, Verdict::Skipped, "it was not tried"),
        Some((Ok(()), took)) => StepResult {
            ms: Some(milliseconds(*took)),
            ..StepResult::new(step, Verdict::Ok, text(None))
        },
        Some((Err(why), took)) => StepResult {
            ms: Some(milliseconds(*took)),
            ..StepResult::new(step, bad, text(Some(why)))
        },
    }
}

fn neighbour(port: &str, via: IpAddr, known: Result<&[Neighbour], &String>) -> StepResult {
    let known = match known {
        Ok(known) => known,
        Err(why) => return StepResult::new("neighbour", Verdict::Skipped, why.as_str()),
    };
    let asks = if via.is_ipv4() {
        "ARP"
    } else {
        "neighbour discovery"
    };
    let found = known.iter().find(|it| it.port == port && it.address == via);
    match found.map(|it| (it.state, &it.mac)) {
        Some((state @ ("reachable" | "stale" | "static"), Some(mac))) => {
            StepResult::new("neighbour", Verdict::Ok, format!("{via} is {mac}, {state}"))
        }
        Some(_) => {
            let text = format!("{via} does not answer {asks}");
            StepResult::new("neighbour", Verdict::Failed, text)
        }
        None => {
            let text = format!("nobody has asked for {via} yet");
            StepResult::new("neighbour", Verdict::Skipped, text)
        }
    }
}

impl ServicePlan {
    async fn steps(&self, handle: &Handle, reached: &BTreeMap<&str, bool>) -> Vec<StepResult> {
        let mut steps = vec![self.pool(reached)];
        let mut refused = Vec::new();
        let mut served = false;
        for (zone, client) in &self.clients {
            let in_zone = |step: StepResult| StepResult {
                virtual_server: Some(self.name.clone()),
                zone: Some(zone.clone()),
                ..step
            };
            let client = match client {
                Ok(client) => client,
                Err(why) => {
                    steps.push(in_zone(StepResult::new("client", Verdict::Skipped, *why)));
                    continue;
                }
            };
            match handle
                .call(Action::Trace(Box::new(self.question(client))))
                .await
            {
                Ok(Outcome::Trace(view)) => {
                    let (told, good) = told(&view, client);
                    let from = steps.len();
                    steps.extend(told.into_iter().map(in_zone));
                    served |= good;
                    if !good {
                        refused.push(from..steps.len());
                    }
                }
                answer => {
                    let why = answer.err().map(|why| why.to_string());
                    let why = why.unwrap_or_else(|| "it cannot be traced".to_owned());
                    steps.push(in_zone(StepResult::new("client", Verdict::Skipped, why)));
                }
            }
        }
        // Where nobody was asked for, a zone that is kept out may well be meant to be.
        if served && !self.wanted {
            for step in refused.into_iter().flatten() {
                if steps[step].verdict == Verdict::Failed {
                    steps[step].verdict = Verdict::Warning;
                }
            }
        }
        steps
    }

    fn question(&self, client: &Client) -> TraceQuery {
        TraceQuery {
            port: client.port.clone(),
            source: Some(client.address),
            destination: Some(self.address),
            protocol: Some(self.protocol.clone()),
            destination_port: Some(self.port),
            ..TraceQuery::default()
        }
    }

    /// How many of its real servers can be reached.
    pub(super) fn pool(&self, reached: &BTreeMap<&str, bool>) -> StepResult {
        let all = self.members.len();
        let tried = self
            .members
            .iter()
            .filter_map(|name| reached.get(name.as_str()));
        let tried: Vec<bool> = tried.copied().collect();
        let good = tried.iter().filter(|good| **good).count();
        let (verdict, text) = match (good, tried.len()) {
            (0, 0) if all > 0 => (Verdict::Skipped, "no real server was tried".to_owned()),
            (good, tried) => {
                let verdict = match good {
                    0 => Verdict::Failed,
                    _ if good < all => Verdict::Warning,
                    _ => Verdict::Ok,
                };
                let untried = match all - tried {
                    0 => String::new(),
                    untried => format!(", {untried} were not tried"),
                };
                let text = format!("{good} of {all} real servers are without fault{untried}");
                (verdict, text)
            }
        };
        StepResult {
            virtual_server: Some(self.name.clone()),
            ..StepResult::new("pool", verdict, text)
        }
    }
}

/// What a trace says, and whether the client is served.
pub(super) fn told(view: &TraceView, client: &Client) -> (Vec<StepResult>, bool) {
    let last = view.steps.len().saturating_sub(1);
    let dropped = view.verdict == "dropped";
    let mut steps = Vec::new();
    for (at, step) in view.steps.iter().enumerate() {
        // A packet stops where it was looked at last.
        let stopped = dropped && at == last;
        // Of a session there is something to tell only if the packet has one.
        let nothing = step.stage == "session" && step.name.is_none();
        if !stopped && (nothing || !TELLING.contains(&step.stage)) {
            continue;
        }
        let verdict = match step.stage {
            _ if stopped => Verdict::Failed,
            "last_resort" => Verdict::Warning,
            _ => Verdict::Ok,
        };
        steps.push(StepResult::new(step.stage, verdict, step.text.clone()));
    }
    let from = client.address;
    let (verdict, text) = match (view.verdict, view.reason) {
        ("forwarded", _) => (Verdict::Ok, view.text.clone()),
        ("dropped", Some(reason)) => (Verdict::Failed, format!("{reason}: {}", view.text)),
        ("dropped", None) => (Verdict::Failed, view.text.clone()),
        ("consumed", _) => (Verdict::Ok, view.text.clone()),
        _ => (Verdict::Warning, view.text.clone()),
    };
    let text = format!("a first packet of {from}: {text}");
    steps.push(StepResult::new("client", verdict, text));
    (steps, verdict != Verdict::Failed)
}
