//! [`ContentFingerprint`] and [`CopyId`]: identify definitions, and one stored copy of them.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// A fingerprint of the definitions' members, byte for byte (xxh3, 64 bits): equal for equal content, whatever the
/// metadata.
///
/// It detects accidental changes, not attacks. [`Display`](fmt::Display) writes 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentFingerprint(u64);

impl ContentFingerprint {
    pub(crate) fn of(members: &str) -> Self {
        Self(xxh3_64(members.as_bytes()))
    }

    pub(crate) fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The fingerprint as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ContentFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ContentFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentFingerprint({self})")
    }
}

/// Identifies one stored copy: its content and its metadata. Two copies of the same content that were fetched at
/// different times, or have different ETags, differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyId {
    content: ContentFingerprint,
    metadata: u64,
}

impl CopyId {
    pub(crate) fn new(content: ContentFingerprint, metadata: u64) -> Self {
        Self { content, metadata }
    }
}
