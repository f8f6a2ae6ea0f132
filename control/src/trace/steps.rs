//! What workers found, in names and words.

use std::net::{IpAddr, SocketAddr};

use sluice_dataplane::handoff::Why;
use sluice_dataplane::http_redirect::Answer;
use sluice_dataplane::mailbox::trace::{Over, Step, TcpVerdict, Verdict};
use sluice_dataplane::session::table::Direction;
use sluice_dataplane::snapshot::{PortId, ServerId, ServiceId};
use sluice_wire::parse::Kind;
use sluice_wire::{Tuple, proto};

use super::{StepView, TraceView, TupleView};
use crate::compile::Registry;
use crate::config::protocol_name;

/// Names for what workers have numbers for.
pub(crate) struct Names<'a> {
    /// Services, servers, zones, ports.
    pub(crate) registry: &'a Registry,
    /// A session's state by name.
    pub(crate) state: fn(u8, u8) -> &'static str,
}

impl Names<'_> {
    /// The whole answer: steps with the workers that took them.
    pub(crate) fn view(&self, steps: &[(usize, Step)], verdict: Verdict) -> TraceView {
        let shown = steps.iter().map(|&(worker, step)| {
            let (stage, text, name) = self.step(step);
            StepView {
                worker,
                stage,
                text,
                name,
            }
        });
        let mut view = TraceView {
            verdict: "dropped",
            text: String::new(),
            reason: None,
            port: None,
            leaves: None,
            steps: shown.collect(),
        };
        (view.verdict, view.text) = match verdict {
            Verdict::Forward {
                port,
                leaves,
                waits,
            } => {
                let port = self.port(port);
                let later = match waits {
                    true => " once its next hop has answered",
                    false => "",
                };
                let text = format!("it leaves by {port} as {}{later}", tuple(&leaves));
                view.port = Some(port);
                view.leaves = Some(TupleView {
                    protocol: protocol_name(leaves.proto),
                    source: leaves.src,
                    source_port: Some(leaves.sport).filter(|&port| port != 0),
                    destination: leaves.dst,
                    destination_port: leaves.dport,
                });
                ("forwarded", text)
            }
            Verdict::Drop(reason) => {
                view.reason = Some(reason.name());
                ("dropped", reason.describe().trim().to_owned())
            }
            Verdict::Consume => ("consumed", "it is for the appliance itself".to_owned()),
            Verdict::Punt => ("punted", "it goes to the kernel of the host".to_owned()),
            Verdict::Redirect => ("redirected", "it goes to the other appliance".to_owned()),
            Verdict::Pass(worker, _) => ("handed_over", format!("worker {worker} decides")),
            Verdict::Fragment => (
                "fragment",
                "it is a fragment; what becomes of it depends on the rest of its datagram"
                    .to_owned(),
            ),
        };
        view
    }

    /// Between two workers.
    pub(crate) fn handover(worker: usize, to: u16, why: Why) -> StepView {
        let why = match why {
            Why::Pieces => "where all pieces of a datagram meet",
            Why::Home => "which is home to the tuple",
            Why::Affinity => "which decides for this client or endpoint",
            Why::Owner => "which has the session",
            Why::Injected | Why::Arrived => "which polls the device",
        };
        StepView {
            worker,
            stage: "handover",
            text: format!("handed to worker {to}, {why}"),
            name: None,
        }
    }

    fn step(&self, step: Step) -> (&'static str, String, Option<String>) {
        match step {
            Step::Port(port, zone) => {
                let (port, zone) = (self.port(port), self.zone(zone));
                (
                    "port",
                    format!("comes in by {port}, zone {zone}"),
                    Some(port),
                )
            }
            Step::Parsed {
                kind,
                tuple: of,
                ttl,
                length,
                flags,
            } => {
                let about = match kind {
                    Kind::IcmpError => "an ICMP error about the other direction of ",
                    _ => "",
                };
                let flags = match of.proto == proto::TCP && kind == Kind::Session {
                    true => format!(", flags {}", letters(flags)),
                    false => String::new(),
                };
                let of = tuple(&of);
                let text = format!("{about}{of}{flags}, TTL {ttl}, {length} bytes");
                ("headers", text, None)
            }
            Step::Session {
                direction,
                original,
                reply,
                state,
                service,
                server,
            } => {
                let side = match direction {
                    Direction::Original => "the opener's side",
                    Direction::Reply => "the answering side",
                };
                let mut text = format!(
                    "belongs to a session, {side}: {}, answered by {}, {}",
                    tuple(&original),
                    tuple(&reply),
                    (self.state)(original.proto, state)
                );
                if let Some(server) = self.server(server) {
                    text += &format!(", real server {server}");
                }
                ("session", text, self.service(service))
            }
            Step::SessionOver(over) => {
                let why = match over {
                    Over::Configuration => "today's configuration would not open it",
                    Over::Timeout => "its time is over",
                    Over::Reopened => "the packet opens a new connection in its place",
                    Over::Unanswered => {
                        "its real server has not answered, and takes no new sessions any more"
                    }
                };
                ("session", format!("that session ends: {why}"), None)
            }
            Step::NoSession => ("session", "no session has this tuple".to_owned(), None),
            Step::Registered(owner) => {
                let text = format!("worker {owner} has registered the tuple");
                ("owner", text, None)
            }
            Step::Home(home) => ("owner", format!("worker {home} is home to the tuple"), None),
            Step::Host { reply } => {
                let text = match reply {
                    true => "it answers the kernel of the host",
                    false => "[[host.allow]] lets it in",
                };
                ("host", text.to_owned(), None)
            }
            Step::Peer => {
                let text = "the other appliance owns its session, or may".to_owned();
                ("peer", text, None)
            }
            Step::Opens(opens) => {
                let text = match opens {
                    true => "it may be the first packet of a session",
                    false => "it is none that opens a session",
                };
                ("opening", text.to_owned(), None)
            }
            Step::Service(service) => match self.service(service) {
                Some(name) => ("service", format!("the destination is {name}"), Some(name)),
                None => ("service", "the destination is no service".to_owned(), None),
            },
            Step::Decider(worker) => {
                let text = format!("worker {worker} decides for this client or endpoint");
                ("owner", text, None)
            }
            Step::Mapping(address, port) => {
                let text = format!("a mapping leads to {}", endpoint(address, port));
                ("mapping", text, None)
            }
            Step::Server(server) => {
                let name = self.server(server);
                let text = format!("real server {}", name.as_deref().unwrap_or("-"));
                ("server", text, name)
            }
            Step::Route {
                to,
                port,
                zone,
                via,
            } => {
                let (port, zone) = (self.port(port), self.zone(zone));
                let via = match to == via {
                    true => "directly".to_owned(),
                    false => format!("via {via}"),
                };
                let text = format!("{to} is reached {via} by {port}, zone {zone}");
                ("route", text, Some(port))
            }
            Step::SourceRoute(port, zone) => {
                let (port, zone) = (self.port(port), self.zone(zone));
                let text = format!("the source is behind {port}, zone {zone}");
                ("source_route", text, Some(port))
            }
            Step::Policy {
                from,
                to,
                allow,
                rule,
                published,
            } => {
                let name = self.service(rule);
                let by = match (&name, allow) {
                    (Some(name), true) => format!("{name} allows it"),
                    (Some(name), false) => format!("{name} denies it"),
                    (None, true) => "the zones are open".to_owned(),
                    (None, false) if published => "a published service needs no rule".to_owned(),
                    (None, false) => "no rule allows it".to_owned(),
                };
                let (from, to) = (self.zone(from), self.zone(to));
                ("policy", format!("from {from} to {to}: {by}"), name)
            }
            Step::Source { service, source } => {
                let text = match source {
                    Some((address, port)) => {
                        format!("the source is {} from here on", endpoint(address, port))
                    }
                    None => "the source gets a new mapping".to_owned(),
                };
                ("source", text, self.service(service))
            }
            Step::LastResort => {
                let text = "no real server can take it; the virtual server answers it by itself, to \
                            redirect the client";
                ("last_resort", text.to_owned(), None)
            }
            Step::Redirected(answer) => {
                let what = match answer {
                    Answer::Silence => "there is nothing to answer",
                    Answer::Response => "the answer is the redirect",
                    Answer::Close => "the client closes it, and so is answered",
                    Answer::Acknowledge => "the segment is acknowledged",
                    Answer::Reset => "it is not HTTP, and the answer a reset",
                };
                let text = format!("of a connection that a virtual server redirects: {what}");
                ("last_resort", text, None)
            }
            Step::Denied(rule) => {
                let name = self.service(rule);
                let by = name.as_deref().unwrap_or("-");
                (
                    "policy",
                    format!("{by} denies it towards all real servers"),
                    name,
                )
            }
            Step::Tcp(verdict) => {
                let text = match verdict {
                    TcpVerdict::Fits => "the segment fits the connection",
                    TcpVerdict::OutOfWindow => "the segment is outside the window",
                    TcpVerdict::Invalid => "the connection's state does not allow the segment",
                };
                ("tcp", text.to_owned(), None)
            }
            Step::Neighbour { address, mac } => {
                let text = match mac {
                    Some(mac) => format!("next hop {address} is {mac}"),
                    None => format!("the MAC address of next hop {address} is not known"),
                };
                ("neighbour", text, None)
            }
        }
    }

    fn port(&self, port: PortId) -> String {
        let port = self.registry.ports().get(usize::from(port.0));
        port.cloned().unwrap_or_default()
    }

    fn zone(&self, zone: u8) -> String {
        let zone = self.registry.zones().get(usize::from(zone));
        zone.cloned().unwrap_or_default()
    }

    fn service(&self, service: ServiceId) -> Option<String> {
        let name = self.registry.service_name(service)?;
        Some(format!("{}/{}", name.kind, name.name))
    }

    fn server(&self, server: ServerId) -> Option<String> {
        self.registry.server_name(server).map(str::to_owned)
    }
}

fn endpoint(address: IpAddr, port: u16) -> String {
    match port {
        0 => address.to_string(),
        port => SocketAddr::new(address, port).to_string(),
    }
}

fn tuple(tuple: &Tuple) -> String {
    let (from, to) = (
        endpoint(tuple.src, tuple.sport),
        endpoint(tuple.dst, tuple.dport),
    );
    format!("{} {from} -> {to}", protocol_name(tuple.proto))
}

/// `SA` for SYN and ACK.
fn letters(flags: u8) -> String {
    let set = "FSRPAUEC".chars().enumerate();
    let set: String = set
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect();
    match set.is_empty() {
        true => "none".to_owned(),
        false => set,
    }
}
