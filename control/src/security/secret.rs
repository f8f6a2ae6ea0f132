//! Passwords and tokens: made, hashed, compared.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes as hexadecimal digits.
pub(super) fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    // The system's generator does not fail once it is there; without it there is no TLS either.
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random numbers");
    hex(&bytes)
}

/// What a token is at rest.
pub(super) fn hash_token(secret: &str) -> String {
    hex(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// What a password is at rest: argon2id in PHC form. Takes some 20 ms and 19 MiB, on purpose.
pub(super) fn hash_password(password: &str) -> String {
    let hash = Argon2::default().hash_password(password.as_bytes());
    // It fails for passwords of gigabytes only.
    hash.map(|hash| hash.to_string()).unwrap_or_default()
}

/// Whether a password is the one that was hashed. Takes as long for one that is not.
pub(super) fn is_password(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
    verified.is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens_and_no_two_hashes_are_alike() {
        let (one, two) = (
            hash_password("correct horse"),
            hash_password("correct horse"),
        );
        assert!(one.starts_with("$argon2id$") && one != two, "{one}");
        assert!(is_password("correct horse", &one) && is_password("correct horse", &two));
        assert!(!is_password("correct hors", &one) && !is_password("", &one));
        assert!(!is_password("", "") && !is_password("", "$argon2id$"));
        assert_ne!(random::<32>(), random::<32>());
    }
}
