//! How two nodes meet: version, capabilities, keys, and whether the other one was started anew.
//!
//! Each node says hello with its boot id, a nonce, and the nonce that it last heard from the other. A
//! node believes a hello when its own nonce comes back in it: what was recorded earlier cannot
//! contain it. Nonces are used for one session only, so an old pair, and with it old keys, never
//! comes back. Both sides derive the session's secret from both nonces and the pre-shared key.
//!
//! ```text
//! A                                        B
//!   hello(nonce a, heard nothing)    ->
//!                                    <-      hello(nonce b, heard a)
//!   session (a, b)
//!   hello(nonce a, heard b, has it)  ->      session (a, b)
//!                                    <-      hello(nonce b, heard a, has it, sure)
//!   hello(nonce a, heard b, has it, sure) ->
//! ```
//!
//! If the nodes would rather use different pre-shared keys, the one with the lower id decides, and
//! the other one answers under the key that it was asked with.
//!
//! The same exchange changes keys while the nodes run, every hour or because the configuration
//! changed. The boot ids stay the same then, so streams go on where they are.

use crate::frame::{
    CONTROL_LANE, HEADER, HELLO_VERSION, Header, Kind, MAX_LANES, Refused, TAG, VERSIONS, peek,
};
use crate::seal::{KEY_LEN, Keyring, NONCE_LEN, Secret, same_tag};

mod body;
mod session;

pub use body::{MAX_ZONES, Node, Zones};
pub use session::{Session, SessionId};

use body::Body;

/// Between hellos that were not answered, milliseconds.
const REPEAT: u32 = 100;
/// Between any two hellos: what bounds the answers to a flood of them.
const SPACING: u32 = 4;
/// How long the node that decides about the key insists on its own, while the other one uses another.
const INSIST: u32 = 1000;
/// How long a session's keys are used, milliseconds.
const REKEY_AFTER: u32 = 3_600_000;

/// Bits of [`Node::capabilities`], which both must have for a session to use them.
pub mod capability {
    /// Records of IPv4 and IPv6 sessions, mappings and clients.
    pub const RECORDS: u64 = 1 << 0;
    /// Digests and repair of single buckets.
    pub const DIGEST: u64 = 1 << 1;
    /// Packets handed to their owner by MAC rewriting.
    pub const CORRECTION: u64 = 1 << 2;
    /// Roles by groups of addresses.
    pub const ROLES: u64 = 1 << 3;
    /// More than two nodes: packets that are shown to one after the other, and sessions that are
    /// told of by others than their owners.
    pub const CLUSTER: u64 = 1 << 4;
    /// First packets of sessions travel with their records.
    pub const INLINE: u64 = 1 << 5;
}

/// What an [`Association`] has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session, of which all lanes are to be told ([`crate::Lane::associate`]). The peer may have
    /// been started anew ([`Session::peer_boot`]), or just have new keys.
    Session(Box<Session>),
    /// The peer speaks no version of the protocol that we do. Told once per boot of the peer.
    NoCommonVersion {
        /// Oldest and newest version of the peer.
        theirs: (u8, u8),
    },
}

/// The relation to one peer. Lives on one worker; others get the [`Session`]s that it yields.
pub struct Association {
    me: Node,
    peer: u8,
    keyring: Keyring,
    /// Source of nonces: random, and another one at each start.
    seed: [u8; KEY_LEN],
    drawn: u64,
    /// The nonce for the next session.
    fresh: [u8; NONCE_LEN],
    /// The key for it, once it was sent. Matters to the node that decides.
    chosen: Option<u8>,
    /// Since when the other one uses another key.
    foreign: Option<u32>,
    session: Option<Established>,
    /// A nonce of the peer that no session came of yet, and the key that it was authenticated with.
    heard: Option<([u8; NONCE_LEN], u8)>,
    /// Whether to ask for another session although there is one.
    rekey: bool,
    /// When the last hello left.
    sent: Option<u32>,
    due: bool,
    /// The boot of a peer with which there is no common version.
    incompatible: Option<u64>,
}

struct Established {
    session: Session,
    mine: [u8; NONCE_LEN],
    theirs: [u8; NONCE_LEN],
    /// Whether the peer is known to have the session too.
    sure: bool,
    since: u32,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Association")
            .field("peer", &self.peer)
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}

impl Association {
    /// Towards node `peer`. `seed` must be random, and drawn anew for every process and peer: keys
    /// repeat if it does.
    pub fn new(me: Node, peer: u8, keyring: Keyring, seed: [u8; KEY_LEN]) -> Self {
        let mut association = Self {
            me,
            peer,
            keyring,
            seed,
            drawn: 0,
            fresh: [0; NONCE_LEN],
            chosen: None,
            foreign: None,
            session: None,
            heard: None,
            rekey: false,
            sent: None,
            due: true,
            incompatible: None,
        };
        association.draw();
        association
    }

    fn draw(&mut self) {
        self.drawn += 1;
        let random =
            Secret::Key(self.seed).derive(&self.drawn.to_be_bytes(), &[b"sluice ha nonce"]);
        self.fresh.copy_from_slice(&random[..NONCE_LEN]);
        (self.chosen, self.foreign) = (None, None);
    }

    /// Whether this node decides under which key a session is.
    fn decides(&self) -> bool {
        self.me.id < self.peer
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<&Session> {
        self.session
            .as_ref()
            .map(|established| &established.session)
    }

    /// Whether the peer is known to have the same session, and nothing is being negotiated.
    pub fn is_settled(&self) -> bool {
        !self.rekey
            && self
                .session
                .as_ref()
                .is_some_and(|established| established.sure)
    }

    /// Changes the keys. Sessions go on; if the current key is another one, a new session under it
    /// is asked for.
    pub fn set_keyring(&mut self, keyring: Keyring) {
        self.rekey |= keyring.current_id() != self.keyring.current_id();
        self.keyring = keyring;
        self.draw();
        self.due = true;
    }

    /// Changes what is told of this node: capabilities, zones, the digest of its configuration. The
    /// peer hears of it by a new session.
    pub fn set_node(&mut self, me: Node) {
        self.rekey |= self.session.is_some();
        self.me = me;
        self.due = true;
    }

    /// Takes a hello.
    ///
    /// # Errors
    /// Why the datagram was refused; nothing has changed then.
    pub fn handle(&mut self, datagram: &[u8], now: u32) -> Result<Option<Event>, Refused> {
        let header = peek(datagram)?;
        if header.kind != Kind::Hello {
            return Err(Refused::Malformed);
        }
        if header.from != self.peer || header.to != self.me.id {
            return Err(Refused::Node);
        }
        let secret = self.keyring.secret(header.key_id)?;
        let datagram = &datagram[..HEADER + usize::from(header.len)];
        let (signed, tag) = datagram.split_at(datagram.len() - TAG);
        if !same_tag(&secret.authenticate(signed), tag) {
            return Err(Refused::Forged);
        }
        let mut body = Body::parse(&signed[HEADER..]).ok_or(Refused::Malformed)?;
        body.node.id = self.peer;
        Ok(self.believe(&body, header.key_id, &secret, now))
    }

    fn believe(&mut self, body: &Body, key_id: u8, secret: &Secret, now: u32) -> Option<Event> {
        if let Some(established) = &mut self.session
            && established.theirs == body.nonce
        {
            // Of another nonce we heard earlier, or late.
            self.heard = None;
            if body.heard == established.mine {
                established.sure |= body.has;
                self.due |= !body.sure;
            } else {
                self.due = true;
            }
            return None;
        }
        self.due = true;
        self.heard = Some((body.nonce, key_id));
        if self.decides() && key_id != self.chosen.unwrap_or(self.keyring.current_id()) {
            // Maybe it has not heard of our choice yet, maybe it does not have that key.
            let since = *self.foreign.get_or_insert(now);
            if now.wrapping_sub(since) >= INSIST {
                self.draw();
                self.chosen = Some(key_id);
            }
            return None;
        }
        self.foreign = None;
        if body.heard != self.fresh {
            return None;
        }
        let (oldest, newest) = body.versions;
        let version = newest.min(*VERSIONS.end());
        if version < oldest.max(*VERSIONS.start()) {
            let told = self.incompatible.replace(body.node.boot) == Some(body.node.boot);
            let theirs = body.versions;
            return (!told).then_some(Event::NoCommonVersion { theirs });
        }
        Some(self.establish(body, version, key_id, secret, now))
    }

    fn establish(
        &mut self,
        body: &Body,
        version: u8,
        key_id: u8,
        secret: &Secret,
        now: u32,
    ) -> Event {
        let (mine, theirs) = (self.fresh, body.nonce);
        let salt = if self.decides() {
            [mine, theirs]
        } else {
            [theirs, mine]
        };
        let session = Session::new(
            &self.me,
            &body.node,
            version,
            key_id,
            secret,
            &salt.concat(),
        );
        self.session = Some(Established {
            session,
            mine,
            theirs,
            sure: body.has,
            since: now,
        });
        self.heard = None;
        self.rekey = false;
        self.draw();
        Event::Session(Box::new(session))
    }

    /// Writes a hello that is due, and gives its length. To be called until it gives `None`.
    pub fn poll_transmit(&mut self, now: u32, buffer: &mut [u8]) -> Option<usize> {
        if let Some(established) = &mut self.session
            && now.wrapping_sub(established.since) >= REKEY_AFTER
        {
            established.since = now;
            self.rekey = true;
        }
        if self.poll_timeout(now)? != 0 {
            return None;
        }
        let established = self
            .session
            .as_ref()
            .filter(|_| self.heard.is_none() && !self.rekey);
        let (nonce, heard, sure, key_id) = match (established, self.heard) {
            (Some(it), _) => (it.mine, it.theirs, it.sure, it.session.key_id),
            (None, heard) => {
                let current = self.keyring.current_id();
                let key_id = match heard {
                    _ if self.decides() => *self.chosen.get_or_insert(current),
                    Some((_, key_id)) => key_id,
                    None => current,
                };
                let heard = heard.map_or([0; NONCE_LEN], |(nonce, _)| nonce);
                (self.fresh, heard, false, key_id)
            }
        };
        // The key may have been taken out since the peer used it.
        let (secret, key_id) = match self.keyring.secret(key_id) {
            Ok(secret) => (secret, key_id),
            Err(_) => {
                let key_id = self.keyring.current_id();
                (self.keyring.secret(key_id).ok()?, key_id)
            }
        };
        let body = Body {
            node: self.me,
            nonce,
            heard,
            has: established.is_some(),
            sure,
            versions: (*VERSIONS.start(), *VERSIONS.end()),
        };
        let len = body.write(buffer.get_mut(HEADER..)?)?;
        let header = Header {
            version: HELLO_VERSION,
            kind: Kind::Hello,
            from: self.me.id,
            to: self.peer,
            lane: CONTROL_LANE,
            key_id,
            session: 0,
            len: u16::try_from(len + TAG).ok()?,
            counter: 0,
        };
        header.write(buffer)?;
        let (signed, rest) = buffer.split_at_mut(HEADER + len);
        rest.get_mut(..TAG)?
            .copy_from_slice(&secret.authenticate(signed));
        self.sent = Some(now);
        self.due = false;
        Some(HEADER + len + TAG)
    }

    /// In how many milliseconds [`Self::poll_transmit`] has something to send, if nothing comes.
    pub fn poll_timeout(&self, now: u32) -> Option<u32> {
        let wait = match (self.due, self.is_settled() && self.heard.is_none()) {
            (true, _) => SPACING,
            (false, false) => REPEAT,
            (false, true) => {
                let since = self.session.as_ref()?.since;
                return Some(REKEY_AFTER.saturating_sub(now.wrapping_sub(since)));
            }
        };
        let ago = self.sent.map_or(u32::MAX, |sent| now.wrapping_sub(sent));
        Some(wait.saturating_sub(ago))
    }
}

/// Lanes of two nodes with so many workers: one for each worker of the larger.
pub(crate) fn lanes(ours: u8, theirs: u8) -> u8 {
    ours.max(theirs).clamp(1, MAX_LANES as u8)
}

#[cfg(test)]
mod tests;
