//! Digests as text and as numbers.

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that depends on nothing but a text and a seed.
pub(crate) fn hashed(text: &str, seed: u64) -> u64 {
    let digest = Sha256::digest(format!("{seed}\n{text}"));
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}
