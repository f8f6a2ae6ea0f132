//! The protocol between two appliances that share their sessions.
//!
//! Nothing here does IO, reads a clock or starts a thread: datagrams and the time come in, datagrams
//! and events go out, so the same code runs on the HA link and in a simulator. Memory is taken when a
//! [`Lane`] is made; sending and receiving records allocates nothing.
//!
//! - [`frame`]: the header that every datagram of the HA link begins with.
//! - [`seal`]: keys, sealing and opening, the replay window.
//! - [`hello`]: how two nodes find each other, agree on version and keys, and notice a restart.
//! - [`heartbeat`]: whether the peer lives, and by which paths it is heard.
//! - [`record`]: what is said about sessions, mappings and clients.
//! - [`lane`]: an ordered, repaired stream of records in both directions between two workers.
//! - [`bulk`], [`digest`]: telling everything, and proving that nothing is missing.
//! - [`members`]: which of the living nodes the sessions of a dead one fall to.
//! - [`roles`]: which node holds which group of addresses.
//! - [`correct`]: MAC addresses of packets that are handed to their owner.
//!
//! Times are milliseconds in 32 bits that wrap, compared by wrapping differences. Everything on the
//! wire is big-endian. `docs/ha-protocol.md` describes the wire format.

pub mod bulk;
mod bytes;
pub mod correct;
pub mod digest;
pub mod frame;
pub mod heartbeat;
pub mod hello;
pub mod lane;
mod link;
pub mod members;
pub mod name;
pub mod record;
pub mod roles;
pub mod seal;
#[cfg(test)]
mod testing;
pub mod tunnel;

pub use digest::Digest;
pub use heartbeat::Heartbeat;
pub use hello::{Association, Session};
pub use lane::{Lane, LaneConfig};
pub use members::NodeSet;
pub use record::Record;
pub use roles::Roles;
