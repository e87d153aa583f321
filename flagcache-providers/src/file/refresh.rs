//! A request for a refresh: an empty file beside the copy, from the request to the leader's next decision.

use std::fs::{remove_file, symlink_metadata};
use std::io;
use std::time::{Duration, SystemTime};

use flagcache_core::ProviderError;

use super::builder::Files;
use super::error::io_error;
use super::fs;
use super::identity::Identity;

/// A request that has waited for longer is written again, because the leader may have missed it.
const WAITS: Duration = Duration::from_secs(1);

/// Writes the request, unless one waits already.
pub(super) fn write(files: &Files) -> Result<(), ProviderError> {
    let waits_since = symlink_metadata(&files.refresh)
        .and_then(|metadata| metadata.modified())
        .ok();
    let waits = waits_since.is_some_and(|since| {
        SystemTime::now()
            .duration_since(since)
            .is_ok_and(|age| age < WAITS)
    });
    if waits {
        return Ok(());
    }
    let write =
        || -> io::Result<()> { fs::replace(fs::temp_file(files)?, &files.refresh).map(drop) };
    write().map_err(|error| io_error("write", &files.refresh, error))
}

/// Identifies the request that waits.
pub(super) fn waiting(files: &Files) -> Option<Identity> {
    symlink_metadata(&files.refresh)
        .ok()
        .map(|metadata| Identity::of(&metadata))
}

/// Removes the request, because the leader carries it out. If it cannot be removed, its identity shows that it was
/// carried out.
pub(super) fn remove(files: &Files) {
    if let Err(error) = remove_file(&files.refresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(file = %files.refresh.display(), %error, "cannot remove a request for a refresh");
    }
}
