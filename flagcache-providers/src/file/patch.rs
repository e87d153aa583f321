//! The patch beside the copy: what the last publish changed.
//!
//! A reader that has the definitions before it needs the head of the copy and the patch, not the whole copy. Anything that
//! is wrong with a patch means that the copy is read.

use std::fs::File;
use std::io::{self, Read, Write};

use flagcache_core::{FlagDefinitionCacheData, HEAD_LEN, Patch};

use super::builder::Files;
use super::fs;

/// A shorter copy has no patch.
const MIN_COPY: usize = 64 * 1024;

/// Stores the patch from `old`, the stored copy, to `new`, which is about to replace it. Not synced: a reader notices a patch
/// of another change.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn write(
    files: &Files,
    old: &FlagDefinitionCacheData,
    new: &FlagDefinitionCacheData,
) -> io::Result<()> {
    if new.json_len() < MIN_COPY {
        return Ok(());
    }
    let Some(patch) = Patch::between(old, new) else {
        return Ok(());
    };
    let mut file = fs::temp_file(files)?;
    file.write_all(&patch.encode())?;
    fs::replace(file, &files.patch).map(drop)
}

/// The definitions that `copy`, a file of this length, contains: `old` with the patch, if its head is that of the copy.
pub(super) fn apply(
    files: &Files,
    copy: &mut File,
    len: u64,
    old: &FlagDefinitionCacheData,
) -> Option<FlagDefinitionCacheData> {
    if len < MIN_COPY as u64 {
        return None;
    }
    let file = fs::existing(&files.patch, "read").ok()??;
    let mut encoded = Vec::new();
    // A patch is at most a quarter of the copy.
    file.take(len / 4 + 1).read_to_end(&mut encoded).ok()?;
    let new = Patch::decode(encoded).ok()?.apply(old).ok()?;
    let mut head = [0; HEAD_LEN];
    copy.read_exact(&mut head).ok()?;
    (new.json_len() as u64 == len && new.head() == head[..]).then_some(new)
}
