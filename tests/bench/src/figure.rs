//! A figure, and what it is held against.

use serde::{Deserialize, Serialize};

/// What a figure should come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reach {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// One measured number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// As in the report.
    pub(crate) name: String,
    /// The number: for a ratio, best window over best window.
    pub(crate) value: f64,
    /// The median of the paired ratios, or of the windows.
    pub(crate) median: Option<f64>,
    /// What it should come to; `None` for what is only told.
    pub(crate) reach: Option<Reach>,
}

impl Reach {
    /// Whether `value` is there.
    pub(crate) fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

impl Figure {
    /// A number that is only told.
    pub(crate) fn told(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
            median: None,
            reach: None,
        }
    }

    /// The same, to be held against `reach`.
    pub(crate) fn reach(self, reach: Reach) -> Self {
        Self {
            reach: Some(reach),
            ..self
        }
    }

    /// The same with the middle of all windows.
    pub(crate) fn median(self, median: f64) -> Self {
        Self {
            median: Some(median),
            ..self
        }
    }
}
