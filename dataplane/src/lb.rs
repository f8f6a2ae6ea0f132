//! Load balancing: which real server gets a new session.

pub mod maglev;
