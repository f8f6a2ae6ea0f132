//! Sessions: two flows, their rewrites, their state, and the table that finds them.

pub mod flow;
