//! Network address translation.

pub mod rules;
