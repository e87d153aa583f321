//! [`Identity`]: distinguishes states of a file without reading it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// Which file it is, independent of its content. On Windows, where the standard library cannot distinguish files, all are
/// the same: an open lock file cannot be replaced there, and each copy is dated after the one before.
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

    #[cfg(windows)]
    pub(super) fn of(_: &Metadata) -> Self {
        Self {}
    }
}

/// One state of a file: while it is the same, the content need not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    file: FileId,
    len: u64,
    modified: Option<SystemTime>,
    /// Unlike the modification time, programs cannot set this one.
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

    /// Whether nothing was written since `earlier`; a rename changes only the change time.
    pub(super) fn is_only_renamed(&self, earlier: &Self) -> bool {
        (self.file, self.len, self.modified) == (earlier.file, earlier.len, earlier.modified)
    }

    /// Whether a write after `now` could leave the identity unchanged, because the clock of a file system has a
    /// resolution of some milliseconds.
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

#[cfg(windows)]
fn changed(_: &Metadata) -> Option<(i64, i64)> {
    None
}
