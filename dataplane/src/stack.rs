//! The small network stack that an appliance needs of its own.
//!
//! Everything is a function of its state, a packet and the time; frames come in and go out by the
//! caller's hand.

pub mod hold;
pub mod neighbour;
pub mod routes;
