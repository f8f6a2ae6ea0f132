//! One attempt at something, for whoever asks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::checker::Order;
use super::{Failure, Target};
use crate::config::CheckKind;

/// What is tried, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where, and 0 for what has no port.
    pub address: SocketAddr,
    /// The host to name instead of the check's.
    pub host: Option<String>,
    /// How.
    pub kind: CheckKind,
    /// Milliseconds that it may take.
    pub timeout_ms: u32,
}

impl Attempt {
    /// A check of a target.
    pub fn of(target: &Target) -> Self {
        Self {
            address: target.address,
            host: target.host.clone(),
            kind: target.check.kind.clone(),
            timeout_ms: target.check.timeout_ms,
        }
    }
}

/// What came of an attempt, and how long it took.
pub type Attempted = (Result<(), Failure>, Duration);

/// The way to the thread that checks, for single attempts. The thread ends all the same when its
/// [`Checker`](super::Checker) goes.
#[derive(Debug, Clone)]
pub struct Prober {
    pub(super) orders: mpsc::WeakUnboundedSender<Order>,
}

impl Prober {
    /// Makes one attempt, when it has its turn; `None` if the checks have stopped. Dropping the future ends
    /// the attempt.
    pub async fn attempt(&self, attempt: Attempt) -> Option<Attempted> {
        let (answer, outcome) = oneshot::channel();
        let order = Order::Once(Box::new(attempt), answer);
        self.orders.upgrade()?.send(order).ok()?;
        outcome.await.ok()
    }
}
