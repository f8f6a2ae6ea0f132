//! `[alg]`: protocols whose connections announce others.

use sluice_dataplane::alg::AlgPolicy;

use super::place::Place;
use super::raw::section;
use super::value::number;

/// Ports that can be given.
const MOST: usize = 16;

section! {
    /// `[alg]`
    pub struct RawAlg {
        /// TCP ports, as clients address them, on which servers speak FTP.
        ftp_ports: Vec<i64>,
    }
}

impl RawAlg {
    pub(super) fn check(&self, place: &Place<'_>) -> Option<AlgPolicy> {
        let place = place.key("ftp_ports");
        let given = self.ftp_ports.as_deref().unwrap_or_default();
        if given.len() > MOST {
            return place.wrong(
                format!("{} ports are too many", given.len()),
                format!("give {MOST} at most"),
            );
        }
        let mut ftp = place.each(given, |port, place| number(*port, 1..=65_535, place))?;
        ftp.sort_unstable();
        ftp.dedup();
        Some(AlgPolicy { ftp })
    }
}
