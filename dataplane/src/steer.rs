//! Which worker is home to which tuple: RSS, as the NIC does it or in software.

/// The homes of tuples, for every device.
#[derive(Debug, Clone, Default)]
pub struct Steering {}
