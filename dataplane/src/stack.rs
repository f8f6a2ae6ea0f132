//! The small network stack that an appliance needs of its own.

pub mod routes;
