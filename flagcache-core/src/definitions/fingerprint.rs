//! [`ContentFingerprint`] and [`CopyId`]: identify definitions, and one stored copy of them.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::definitions::scan::{FlagEntry, Span, SpanText};

/// A fingerprint of the definitions' members, byte for byte (xxh3, 64 bits): equal for equal content, whatever the
/// metadata.
///
/// The hash covers the text with each flag replaced by a zero byte, followed by the hash of each flag, so that a flag whose
/// hash is known is not read again.
///
/// It detects accidental changes, not attacks. [`Display`](fmt::Display) writes 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentFingerprint(u64);

impl ContentFingerprint {
    /// The fingerprint of members that consist of these parts of `text`, each with the flags in it.
    pub(crate) fn of<'a>(
        text: &(impl SpanText + ?Sized),
        parts: impl IntoIterator<Item = (Span, &'a [FlagEntry])>,
    ) -> Self {
        let mut hasher = Xxh3::new();
        /// Shorter texts are collected, because one long update is faster than many short ones.
        const SHORT: usize = 1024;
        let (mut skeleton, mut hashes) = (Vec::new(), Vec::new());
        for (part, flags) in parts {
            let mut at = part.start();
            for (n, flag) in flags.iter().enumerate() {
                let separator = Span::new(at, flag.json.start());
                if n > 0 && separator.len() == 1 {
                    // One byte between two flags is a comma. Not reading it saves a cache miss per flag.
                    skeleton.push(b',');
                } else if separator.len() < SHORT {
                    skeleton.extend_from_slice(separator.of(text).as_bytes());
                } else {
                    hasher.update(&skeleton);
                    skeleton.clear();
                    hasher.update(separator.of(text).as_bytes());
                }
                skeleton.push(0);
                hashes.extend_from_slice(&flag.hash.to_le_bytes());
                at = flag.json.end();
            }
            hasher.update(&skeleton);
            skeleton.clear();
            hasher.update(Span::new(at, part.end()).of(text).as_bytes());
        }
        hasher.update(&hashes);
        Self(hasher.digest())
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
