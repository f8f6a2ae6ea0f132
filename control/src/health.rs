//! Health of real servers: checks, what is known by them, and what follows.
//!
//! [`Checker`] is a thread in the network namespace of the host interface, so that its sockets speak by
//! the data plane's ports and from the appliance's own addresses. It checks [`Targets`], one task
//! each, and writes what it finds to a [`Board`]. `machine` says what a row of results means; the
//! controller makes [`Standings`] of it and brings them to workers. A [`Prober`] has single attempts made,
//! which no board hears of. One kind of check a file.

mod attempt;
mod board;
mod checker;
mod dns;
mod failure;
mod grpc;
mod http;
pub(crate) mod icmp;
mod machine;
mod passive;
mod probe;
mod ramp;
mod runner;
mod script;
mod standing;
mod target;
mod tcp;
mod tls;
mod udp;

pub use attempt::{Attempt, Attempted, Prober};
pub use board::{Board, CLASSES_MS, Status, together};
pub use checker::Checker;
pub use failure::{Failure, Reason};
pub use machine::Machine;
pub use passive::{Passive, Seen, Watch};
pub use ramp::{Ramps, STEPS};
pub use runner::{ScriptRunner, serve as run_scripts};
pub use standing::{OnDown, Rules, Standing, Standings, Verdict, effective};
pub use target::{Key, Target, Targets};

#[cfg(test)]
mod tests;
