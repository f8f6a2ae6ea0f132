//! `ETag`s: keyed hashes of what they stand for, so that another content has another one. A plain hash would
//! let those who may not see a secret in a text guess at it.
//!
//! The key is kept in the state directory, so that tags are the same after a restart; without one they end
//! with the process.

use std::io;
use std::sync::OnceLock;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::store::{Disk, replace};

static KEY: OnceLock<hmac::Key> = OnceLock::new();

const FILE: &str = "etag-key";
const BYTES: usize = 32;

/// Makes tags by the key that is kept on this disk, or drawn and kept there if there is none. To be called
/// before the first tag is made: one process has one key.
///
/// # Errors
/// If the disk refuses.
pub fn keep_tags(disk: &mut dyn Disk) -> io::Result<()> {
    // Another one is there already in tests alone.
    let _ = KEY.set(kept(disk)?);
    Ok(())
}

fn kept(disk: &mut dyn Disk) -> io::Result<hmac::Key> {
    let known = match disk.read(FILE) {
        Ok(known) if known.len() == BYTES => known,
        Ok(_) => draw(disk)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => draw(disk)?,
        Err(why) => return Err(why),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &known))
}

fn draw(disk: &mut dyn Disk) -> io::Result<Vec<u8>> {
    let mut drawn = vec![0; BYTES];
    let random = SystemRandom::new();
    random
        .fill(&mut drawn)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    replace(disk, FILE, &drawn)?;
    Ok(drawn)
}

/// The `ETag` of a text.
pub(crate) fn tag(text: &str) -> String {
    let key = KEY.get_or_init(|| {
        // Without random numbers tags are plain hashes.
        let drawn = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        drawn.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[]))
    });
    of(key, text)
}

/// The `ETag` of a part.
pub(super) fn tag_of(value: &Value) -> String {
    tag(&value.to_string())
}

fn of(key: &hmac::Key, text: &str) -> String {
    let hash = hmac::sign(key, text.as_bytes());
    let half = hash.as_ref().iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn tags_are_the_same_after_a_restart_and_others_elsewhere() {
        let mut disk = Memory::default();
        let before = of(&kept(&mut disk).expect("room"), "weight = 3");
        assert_eq!(
            of(&kept(&mut disk).expect("it is there"), "weight = 3"),
            before
        );
        assert_ne!(
            of(&kept(&mut disk).expect("it is there"), "weight = 4"),
            before
        );
        let mut other = Memory::default();
        assert_ne!(of(&kept(&mut other).expect("room"), "weight = 3"), before);
        // Half a key is none.
        disk.write(FILE, b"short").expect("room");
        let damaged = of(&kept(&mut disk).expect("room"), "weight = 3");
        assert_ne!(damaged, before);
        assert_eq!(
            of(&kept(&mut disk).expect("it is there"), "weight = 3"),
            damaged
        );
    }
}
