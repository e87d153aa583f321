//! What the API answered a leader that could not fetch: a small file beside the lock, there for as long as that lasts. A file
//! of its own, because a locked file cannot be read everywhere (Windows).

use std::fs::{remove_file, symlink_metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use flagcache_core::{FleetFailure, ProviderError};

use super::builder::Files;
use super::error::io_error;
use super::fs;

/// The longest text that is read: ours have less than 100 bytes.
const LONGEST: u64 = 256;

/// The failure, with its age. What cannot be read, or was written by someone else, is ignored: it saves requests, and no more.
pub(super) fn read(path: &Path) -> Option<FleetFailure> {
    // Absent nearly always, and that is seen without opening anything.
    let written_at = symlink_metadata(path).ok()?.modified().ok()?;
    let mut text = String::new();
    fs::existing(path, "read")
        .ok()??
        .take(LONGEST)
        .read_to_string(&mut text)
        .ok()?;
    let failure: FleetFailure = text.parse().ok()?;
    // After the clock was set back, a time ahead of it counts as a time that long ago: the end of a window does not wait
    // for the clock to catch up.
    let age = SystemTime::now()
        .duration_since(written_at)
        .unwrap_or_else(|ahead| ahead.duration());
    Some(failure.with_age(age))
}

/// Puts the failure in place as a whole, so that no reader sees half of it.
pub(super) fn write(files: &Files, failure: FleetFailure) -> Result<(), ProviderError> {
    let write = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder
            .prefix(&files.staging_prefix)
            .suffix(Files::STAGING_SUFFIX);
        let mut staged = builder.tempfile_in(&files.folder)?;
        // As every writer does, so that another leader does not take it for a file that a killed writer left.
        staged.as_file().try_lock().map_err(io::Error::from)?;
        staged.write_all(failure.to_string().as_bytes())?;
        // Elsewhere than on Unix a lock would keep readers out.
        staged.as_file().unlock()?;
        staged
            .persist(&files.failure)
            .map(drop)
            .map_err(|error| error.error)
    };
    write().map_err(|error| io_error("write", &files.failure, error))
}

/// The API answers again.
pub(super) fn remove(files: &Files) -> Result<(), ProviderError> {
    match remove_file(&files.failure) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &files.failure, error))
        }
        _ => Ok(()),
    }
}
