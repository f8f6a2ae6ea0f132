//! Who is behind which address and port.

use sluice_dataplane::services::{Conflict, Definition, ServiceMap, Target};

use super::super::place::Place;
use super::super::{Config, Name};

/// Where a definition is written, and what it is called.
struct Written<'a> {
    place: Place<'a>,
    text: String,
}

pub(super) fn services(config: &Config, top: &Place<'_>) {
    let (definitions, written) = definitions(config, top);
    let Err(conflicts) = ServiceMap::build(&definitions) else {
        return;
    };
    for conflict in conflicts {
        match conflict {
            Conflict::Overlap { first, second } => {
                let (Some(first), Some(second)) = (written.get(first), written.get(second)) else {
                    continue;
                };
                second.place.wrong::<()>(
                    format_args!(
                        "{} and {} claim the same address and port",
                        first.text, second.text
                    ),
                    "change the address, protocol or port of one of them",
                );
            }
            Conflict::PortsWithoutProtocol(at) | Conflict::EmptyRange(at) => {
                if let Some(written) = written.get(at) {
                    written
                        .place
                        .wrong::<()>(conflict, "name protocol and ports");
                }
            }
        }
    }
}

fn definitions<'a>(config: &Config, top: &Place<'a>) -> (Vec<Definition>, Vec<Written<'a>>) {
    let mut written = Vec::new();
    let mut note = |key: &str, kind: &str, index: usize, name: &Name| {
        written.push(Written {
            place: top.key(key).index(index),
            text: format!("{kind} {:?}", name.as_str()),
        });
    };
    for (index, vs) in config.virtual_servers.iter().enumerate() {
        note("virtual_server", "virtual server", index, &vs.name);
    }
    for (index, forward) in config.forwards.iter().enumerate() {
        note("forward", "forward", index, &forward.name);
    }
    for (index, nat) in config.static_nat.iter().enumerate() {
        note("static_nat", "static translation", index, &nat.name);
    }
    (config.definitions(), written)
}

impl Config {
    /// Virtual servers, forwards and static translations, in this order, as the data plane finds
    /// them by destination.
    pub fn definitions(&self) -> Vec<Definition> {
        let numbered = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
        let virtual_servers = self
            .virtual_servers
            .iter()
            .enumerate()
            .map(|(n, vs)| Definition {
                address: vs.address,
                proto: vs.protocol,
                ports: vs.ports,
                target: Target::VirtualServer(numbered(n)),
            });
        let forwards = self
            .forwards
            .iter()
            .enumerate()
            .map(|(n, forward)| Definition {
                address: forward.address,
                proto: Some(forward.protocol),
                ports: Some(forward.ports),
                target: Target::Forward(numbered(n)),
            });
        let statics = self
            .static_nat
            .iter()
            .enumerate()
            .map(|(n, nat)| Definition {
                address: nat.external,
                proto: None,
                ports: None,
                target: Target::Static(numbered(n)),
            });
        virtual_servers.chain(forwards).chain(statics).collect()
    }
}
