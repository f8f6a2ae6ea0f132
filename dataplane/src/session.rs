//! Sessions: two flows, their rewrites, their state, and the table that finds them.

mod cpu;
pub mod flow;
pub mod index;
pub mod pointers;
mod refs;
pub mod state;
pub mod table;

pub use flow::{Cold, Flow, PathId, Session};
pub use refs::{Direction, FlowRef, SessionId};
pub use table::{Candidate, InsertError, Table};
