//! One lane's keys, those of the session before included: from body to datagram and back.

use crate::frame::{HEADER, Header, Kind, Refused, TAG, peek};
use crate::hello::Session;
use crate::seal::{Opener, Sealer};

struct Keys {
    session: Session,
    sealer: Sealer,
    opener: Opener,
}

impl Keys {
    fn new(session: &Session, lane: u8) -> Self {
        let Session {
            me, peer, secret, ..
        } = *session;
        Self {
            session: *session,
            sealer: Sealer::new(&secret, me, peer, lane),
            opener: Opener::new(&secret, peer, me, lane),
        }
    }
}

/// Seals and opens datagrams of one lane and kind.
pub(crate) struct Link {
    lane: u8,
    kind: Kind,
    keys: Option<Keys>,
    /// The session before, of which datagrams may still be under way.
    before: Option<Keys>,
}

impl Link {
    pub(crate) fn new(lane: u8, kind: Kind) -> Self {
        Self {
            lane,
            kind,
            keys: None,
            before: None,
        }
    }

    pub(crate) fn lane(&self) -> u8 {
        self.lane
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.keys.as_ref().map(|keys| &keys.session)
    }

    /// Uses a new session; says whether the peer was started anew, as opposed to new keys only.
    pub(crate) fn associate(&mut self, session: &Session) -> bool {
        let anew = self.session().map(|session| session.peer_boot) != Some(session.peer_boot);
        let keys = Keys::new(session, self.lane);
        self.before = self.keys.replace(keys).filter(|_| !anew);
        anew
    }

    /// Makes a datagram of the body that `fill` writes, if it does.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        buffer: &mut [u8],
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let Keys {
            session, sealer, ..
        } = self.keys.as_mut()?;
        let limit = usize::from(session.mtu).min(buffer.len());
        let end = limit.checked_sub(TAG)?;
        let len = fill(buffer.get_mut(HEADER..end)?)?;
        let header = Header {
            version: session.version,
            kind: self.kind,
            from: session.me,
            to: session.peer,
            lane: self.lane,
            key_id: session.key_id,
            session: session.id,
            len: 0,
            counter: 0,
        };
        sealer.seal(&header, buffer, len)
    }

    /// The body of a datagram, opened in place.
    #[inline]
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a mut [u8], Refused> {
        let header = peek(datagram)?;
        let current = self.keys.as_mut().ok_or(Refused::Session)?;
        let session = &current.session;
        if header.from != session.peer || header.to != session.me || header.lane != self.lane {
            return Err(Refused::Node);
        }
        if header.kind != self.kind {
            return Err(Refused::Malformed);
        }
        let keys = if header.session == session.id {
            current
        } else {
            let before = self.before.as_mut();
            before
                .filter(|keys| keys.session.id == header.session)
                .ok_or(Refused::Session)?
        };
        if header.version != keys.session.version {
            return Err(Refused::Version);
        }
        keys.opener.open(&header, datagram)
    }
}
