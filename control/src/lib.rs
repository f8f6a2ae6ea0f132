//! Configuration, controller, REST API.

pub mod config;
