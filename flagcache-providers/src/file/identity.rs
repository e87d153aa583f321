//! What tells one state of a file from another without reading it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// Which file it is, however often it was written. Where the standard library cannot tell files apart, all are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self {}
    }
}

/// One state of a file: while this is the same, its content need not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    file: FileId,
    len: u64,
    modified: Option<SystemTime>,
    /// Tools that set the time of modification back cannot set this one.
    changed: Option<(i64, i64)>,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            file: FileId::of(metadata),
            len: metadata.len(),
            modified: metadata.modified().ok(),
            changed: changed(metadata),
        }
    }

    /// Whether nothing was written since `earlier`; a new name changes the time of the change alone.
    pub(super) fn is_only_renamed(&self, earlier: &Self) -> bool {
        (self.file, self.len, self.modified) == (earlier.file, earlier.len, earlier.modified)
    }

    /// Whether a write after `now` could still leave the identity as it is, because the clock of a file system stands still
    /// for some milliseconds.
    pub(super) fn may_be_written_unseen(&self, now: SystemTime) -> bool {
        const CLOCK_STEP: Duration = Duration::from_millis(50);
        let age = self
            .modified
            .and_then(|modified| now.duration_since(modified).ok());
        age.is_some_and(|age| age < CLOCK_STEP)
    }
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<(i64, i64)> {
    None
}
