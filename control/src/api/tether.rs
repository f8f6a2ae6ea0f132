//! Answers that go on, for as long as whoever asked for them may have them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::needs::Needs;
use crate::security::{Accounts, Identity};

/// How often somebody is looked at again.
const LOOK: Duration = Duration::from_secs(2);

/// What somebody came in with.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) accounts: Arc<Accounts>,
    /// A login's or a token's.
    pub(super) secret: Option<String>,
    /// Of the certificate, which counts where there is no secret.
    pub(super) names: Option<Arc<[String]>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Whose they are now.
    pub(super) fn identity(&self) -> Option<Identity> {
        match (&self.secret, &self.names) {
            (Some(secret), _) => self.accounts.identify(secret),
            (None, Some(names)) => self.accounts.named(names),
            (None, None) => None,
        }
    }

    fn still_allow(&self, needs: Needs) -> bool {
        let identity = self.identity();
        identity.is_some_and(|identity| needs.check(&identity).is_ok() && !identity.must_change)
    }
}

/// Cuts an answer off that is still going on when its reader's token is revoked or has ended, the login
/// is over, the user is gone, or may not do it any more. Answers whose length is known are let alone.
pub(super) fn tether(response: Response, credentials: Credentials, needs: Needs) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let mut look = interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    response.map(|body| {
        Body::new(Tethered {
            body,
            credentials,
            needs,
            look,
        })
    })
}

struct Tethered {
    body: Body,
    credentials: Credentials,
    needs: Needs,
    look: Interval,
}

impl HttpBody for Tethered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.look.poll_tick(cx).is_ready() {
            if !self.credentials.still_allow(self.needs) {
                // The connection breaks off, so that nobody takes it for whole.
                let why = io::Error::other("whoever reads it may not any more");
                return Poll::Ready(Some(Err(axum::Error::new(why))));
            }
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
