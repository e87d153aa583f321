//! Compressed bodies.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;

pub(super) fn compressed(content: impl Read) -> Bytes {
    let mut compressed = Vec::new();
    // What is read here, memory or `repeat`, cannot fail.
    let _ = GzEncoder::new(content, Compression::fast()).read_to_end(&mut compressed);
    Bytes::from(compressed)
}

/// A small body that grows to this many spaces.
pub(super) fn bomb(bytes: u64) -> Bytes {
    compressed(io::repeat(b' ').take(bytes))
}
