//! What a hello says.

use crate::bytes::{In, Out};
use crate::seal::NONCE_LEN;

/// Zones that a node can tell of.
pub const MAX_ZONES: usize = 64;

/// Hashes of the names of a node's zones ([`crate::name::hash32`]), by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zones {
    hashes: [u32; MAX_ZONES],
    len: u8,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            hashes: [0; MAX_ZONES],
            len: 0,
        }
    }
}

impl Zones {
    /// From the hashes in the order of the zones' numbers; those beyond [`MAX_ZONES`] are left out.
    pub fn new(hashes: impl IntoIterator<Item = u32>) -> Self {
        let mut zones = Self::default();
        for hash in hashes.into_iter().take(MAX_ZONES) {
            zones.hashes[usize::from(zones.len)] = hash;
            zones.len += 1;
        }
        zones
    }

    /// The hashes.
    pub fn as_slice(&self) -> &[u32] {
        &self.hashes[..usize::from(self.len)]
    }

    /// The name's hash of zone number `zone`.
    pub fn hash(&self, zone: u8) -> Option<u32> {
        self.as_slice().get(usize::from(zone)).copied()
    }

    /// The number of the zone with this hash.
    pub fn number(&self, hash: u32) -> Option<u8> {
        let at = self.as_slice().iter().position(|&known| known == hash)?;
        u8::try_from(at).ok()
    }
}

/// What a node tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its id, below [`crate::frame::MAX_NODES`].
    pub id: u8,
    /// Random, another one at each start of the process.
    pub boot: u64,
    /// Its workers, and so how many lanes it needs.
    pub workers: u8,
    /// Bits of [`super::capability`].
    pub capabilities: u64,
    /// Frames that each of its lanes can keep for later ([`crate::LaneConfig::reorder`]).
    pub window: u16,
    /// Bytes of the longest datagram that it takes: header, body and tag.
    pub mtu: u16,
    /// Digest of what must be alike on both nodes. Compared and reported, nothing more.
    pub config: u64,
    /// Its zones.
    pub zones: Zones,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) node: Node,
    pub(super) nonce: [u8; NONCE_LEN],
    /// The nonce last heard from the other, zeros for none.
    pub(super) heard: [u8; NONCE_LEN],
    /// Whether the sender has the session of these nonces, and whether it knows that the other one
    /// has it, too.
    pub(super) has: bool,
    pub(super) sure: bool,
    /// Oldest and newest version that is spoken.
    pub(super) versions: (u8, u8),
}

impl Body {
    pub(super) fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let Node {
            id: _,
            boot,
            workers,
            capabilities,
            window,
            mtu,
            config,
            zones,
        } = &self.node;
        let mut out = Out::new(buffer);
        out.u64(*boot);
        out.put(self.nonce);
        out.put(self.heard);
        let flags = u8::from(self.sure) | (u8::from(self.has) << 1);
        out.put([self.versions.0, self.versions.1, *workers, flags]);
        out.u16(*window);
        out.u16(*mtu);
        out.u64(*capabilities);
        out.u64(*config);
        out.u16(u16::from(zones.len));
        zones.as_slice().iter().for_each(|&hash| out.u32(hash));
        out.finish()
    }

    /// The sender's id is in the datagram's header, and stays 0 here. Bytes after the zones come
    /// from a later release.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = In(bytes);
        let boot = input.u64()?;
        let [nonce, heard] = [input.take()?, input.take()?];
        let [oldest, newest, workers, flags] = input.take()?;
        let [window, mtu] = [input.u16()?, input.u16()?];
        let [capabilities, config] = [input.u64()?, input.u64()?];
        let count = usize::from(input.u16()?);
        if count > MAX_ZONES {
            return None;
        }
        let mut zones = Zones::default();
        for hash in &mut zones.hashes[..count] {
            *hash = input.u32()?;
        }
        zones.len = count as u8;
        Some(Self {
            node: Node {
                id: 0,
                boot,
                workers,
                capabilities,
                window,
                mtu,
                config,
                zones,
            },
            nonce,
            heard,
            sure: flags & 1 != 0,
            has: flags & 2 != 0,
            versions: (oldest, newest),
        })
    }
}
