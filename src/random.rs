//! Random words of the kernel.

use std::io::Read;

/// Words that nobody outside can know.
///
/// # Errors
/// If the kernel has none.
pub(crate) fn words<const N: usize>() -> std::io::Result<[u64; N]> {
    let mut source = std::fs::File::open("/dev/urandom")?;
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes)?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}
