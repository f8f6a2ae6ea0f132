//! Configuration, controller, REST API.

pub mod compile;
pub mod config;
pub mod reload;
