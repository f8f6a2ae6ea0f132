//! Sessions: two flows, their rewrites, their state, and the table that finds them.

mod cpu;
pub mod flow;
pub mod index;
pub mod state;
pub mod table;

pub use flow::{Cold, Flow, PathId, Session};
pub use table::{Candidate, FlowRef, InsertError, SessionId, Table};
