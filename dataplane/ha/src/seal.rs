//! Sealing: who else could have written this, and was it here before?
//!
//! Nodes share a key from their configuration. From it and a nonce of each node, both fresh, they
//! derive a secret for the session between these two boots (HKDF-SHA256, RFC 5869), and from that a
//! key for each lane and direction. A datagram is sealed with AES-256-GCM, under a counter that never
//! repeats for its key; its header is authenticated with it. Since keys are new with every boot, a
//! counter may begin at zero.
//!
//! Without a pre-shared key, by explicit choice, the tag is a checksum: it finds damage, not forgery.

use std::hash::Hasher;

use ring::{aead, hkdf, hmac};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::frame::{HEADER, Header, Refused, TAG};

mod replay;

pub use replay::Window;

/// Bytes of a pre-shared key, of a session's secret, and of an AES-256 key.
pub const KEY_LEN: usize = 32;
/// Bytes of a node's contribution to a session's secret.
pub const NONCE_LEN: usize = 16;

/// A pre-shared key. The id goes over the wire, and tells the two keys of a rotation apart.
#[derive(Clone, PartialEq, Eq)]
pub struct PreShared {
    /// Id, any number.
    pub id: u8,
    /// The key: random bytes, not a password.
    pub secret: [u8; KEY_LEN],
}

impl std::fmt::Debug for PreShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreShared")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The keys of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyring {
    /// Everything is sealed.
    Sealed {
        /// Sessions that this node asks for are under this key.
        current: PreShared,
        /// Sessions that the peer asks for may be under this key as well. A rotation without a gap:
        /// first every node gets the new key here, then every node exchanges the two, then the old
        /// one is taken out.
        also: Option<PreShared>,
    },
    /// Nothing is secret and nothing authentic. For links that nobody else can reach.
    Plaintext,
}

/// The key id of a keyring without keys.
pub(crate) const PLAINTEXT_ID: u8 = 0;

/// A secret to derive keys from, of a pre-shared key or of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    Key([u8; KEY_LEN]),
    Plaintext,
}

struct Bytes;

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

impl Keyring {
    /// The id of the key that this node asks for.
    pub(crate) fn current_id(&self) -> u8 {
        match self {
            Self::Sealed { current, .. } => current.id,
            Self::Plaintext => PLAINTEXT_ID,
        }
    }

    /// The pre-shared key with this id.
    pub(crate) fn secret(&self, id: u8) -> Result<Secret, Refused> {
        match self {
            Self::Sealed { current, .. } if current.id == id => Ok(Secret::Key(current.secret)),
            Self::Sealed {
                also: Some(also), ..
            } if also.id == id => Ok(Secret::Key(also.secret)),
            Self::Plaintext if id == PLAINTEXT_ID => Ok(Secret::Plaintext),
            _ => Err(Refused::Key),
        }
    }
}

impl Secret {
    /// 32 bytes for a purpose, from this secret and a salt. Plaintext derives from zeros, which is
    /// as good as the secret that it stands for.
    pub(crate) fn derive(&self, salt: &[u8], purpose: &[&[u8]]) -> [u8; KEY_LEN] {
        let zeros = [0; KEY_LEN];
        let secret = match self {
            Self::Key(secret) => secret,
            Self::Plaintext => &zeros,
        };
        let mut derived = [0; KEY_LEN];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
        // HKDF refuses more than 8160 bytes (RFC 5869 2.3) and buffers of another length than asked
        // for; neither can be.
        if prk
            .expand(purpose, Bytes)
            .and_then(|okm| okm.fill(&mut derived))
            .is_err()
        {
            unreachable!("32 bytes were asked for");
        }
        derived
    }

    /// The tag of a hello.
    pub(crate) fn authenticate(&self, datagram: &[u8]) -> [u8; TAG] {
        match self {
            Self::Key(_) => {
                let key = self.derive(b"", &[b"sluice ha hello"]);
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), datagram);
                let mut short = [0; TAG];
                short.copy_from_slice(&tag.as_ref()[..TAG]);
                short
            }
            Self::Plaintext => checksum(&[datagram]),
        }
    }
}

/// 32 bytes for a purpose outside this protocol, from a pre-shared key (HKDF-SHA256): the same on all
/// nodes that share it.
pub fn derive(secret: &[u8; KEY_LEN], purpose: &[u8]) -> [u8; KEY_LEN] {
    Secret::Key(*secret).derive(b"", &[purpose])
}

/// Compares tags in a time that does not depend on where they differ.
pub(crate) fn same_tag(a: &[u8; TAG], b: &[u8]) -> bool {
    b.len() == TAG && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// A tag against damage, SipHash-2-4 under a fixed key.
fn checksum(parts: &[&[u8]]) -> [u8; TAG] {
    let mut hasher = SipHasher24::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish128().as_bytes()
}

/// The key of one lane in one direction.
enum Cipher {
    Aead(Box<aead::LessSafeKey>),
    Plaintext,
}

impl Cipher {
    fn new(secret: &Secret, from: u8, to: u8, lane: u8) -> Self {
        if *secret == Secret::Plaintext {
            return Self::Plaintext;
        }
        let key = secret.derive(b"", &[b"sluice ha lane", &[from, to, lane]]);
        match aead::UnboundKey::new(&aead::AES_256_GCM, &key) {
            Ok(key) => Self::Aead(Box::new(aead::LessSafeKey::new(key))),
            Err(_) => unreachable!("the key is as long as an AES-256 key"),
        }
    }
}

fn nonce(counter: u64) -> aead::Nonce {
    let mut bytes = [0; aead::NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    aead::Nonce::assume_unique_for_key(bytes)
}

/// Seals what one node sends on one lane.
pub(crate) struct Sealer {
    cipher: Cipher,
    counter: u64,
}

impl Sealer {
    pub(crate) fn new(secret: &Secret, from: u8, to: u8, lane: u8) -> Self {
        Self {
            cipher: Cipher::new(secret, from, to, lane),
            counter: 0,
        }
    }

    /// Completes `datagram`, in which `body` bytes stand behind the place for the header; gives its
    /// length. `header` needs neither length nor counter. `None` if there is no room for the tag.
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        datagram: &mut [u8],
        body: usize,
    ) -> Option<usize> {
        let len = HEADER + body + TAG;
        let datagram = datagram.get_mut(..len)?;
        self.counter += 1;
        let header = Header {
            len: u16::try_from(body + TAG).ok()?,
            counter: self.counter,
            ..*header
        };
        header.write(datagram)?;
        let (head, rest) = datagram.split_at_mut(HEADER);
        let (body, place) = rest.split_at_mut(body);
        match &self.cipher {
            Cipher::Aead(key) => {
                let nonce = nonce(self.counter);
                let tag = key
                    .seal_in_place_separate_tag(nonce, aead::Aad::from(&*head), body)
                    .ok()?;
                place.copy_from_slice(tag.as_ref());
            }
            Cipher::Plaintext => place.copy_from_slice(&checksum(&[head, body])),
        }
        Some(len)
    }
}

/// Opens what the other node sends on one lane, once.
pub(crate) struct Opener {
    cipher: Cipher,
    window: Window,
}

impl Opener {
    pub(crate) fn new(secret: &Secret, from: u8, to: u8, lane: u8) -> Self {
        Self {
            cipher: Cipher::new(secret, from, to, lane),
            window: Window::default(),
        }
    }

    /// Gives the body in the clear, if it is authentic and was not opened before. `header` must be
    /// what [`crate::frame::peek`] gave for `datagram`.
    pub(crate) fn open<'a>(
        &mut self,
        header: &Header,
        datagram: &'a mut [u8],
    ) -> Result<&'a mut [u8], Refused> {
        let len = HEADER + usize::from(header.len);
        let datagram = datagram.get_mut(..len).ok_or(Refused::Malformed)?;
        if !self.window.is_new(header.counter) {
            return Err(Refused::Replayed);
        }
        let (head, sealed) = datagram.split_at_mut(HEADER);
        let body = match &self.cipher {
            Cipher::Aead(key) => key
                .open_in_place(nonce(header.counter), aead::Aad::from(&*head), sealed)
                .map_err(|_| Refused::Forged)?,
            Cipher::Plaintext => {
                let body = sealed.len().checked_sub(TAG).ok_or(Refused::Malformed)?;
                let (body, tag) = sealed.split_at_mut(body);
                if !same_tag(&checksum(&[head, body]), tag) {
                    return Err(Refused::Forged);
                }
                body
            }
        };
        self.window.note(header.counter);
        Ok(body)
    }
}

#[cfg(test)]
mod tests;
