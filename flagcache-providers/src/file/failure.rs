//! The fleet's failure: a small file beside the lock, present while the failure lasts. Separate, because a locked file
//! cannot be read everywhere (Windows).

use std::fs::{remove_file, symlink_metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use flagcache_core::{FleetFailure, ProviderError};

use super::builder::Files;
use super::error::io_error;
use super::fs;

/// The maximum length that is read; our texts have less than 100 bytes.
const LONGEST: u64 = 256;

/// The failure, with its age. An unreadable or foreign file is ignored: the failure only saves requests.
pub(super) fn read(path: &Path) -> Option<FleetFailure> {
    // Usually absent, which is detected without opening a file.
    let written_at = symlink_metadata(path).ok()?.modified().ok()?;
    let mut text = String::new();
    fs::existing(path, "read")
        .ok()??
        .take(LONGEST)
        .read_to_string(&mut text)
        .ok()?;
    let failure: FleetFailure = text.parse().ok()?;
    // A time in the future, after the clock was set back, counts as that long ago, so that the end of a window does not
    // wait for the clock.
    let age = SystemTime::now()
        .duration_since(written_at)
        .unwrap_or_else(|ahead| ahead.duration());
    Some(failure.with_age(age))
}

/// Writes the failure atomically, so that readers never see a part.
pub(super) fn write(files: &Files, failure: FleetFailure) -> Result<(), ProviderError> {
    let write = || -> io::Result<()> {
        let mut staged = fs::temp_file(files)?;
        staged.write_all(failure.to_string().as_bytes())?;
        fs::replace(staged, &files.failure).map(drop)
    };
    write().map_err(|error| io_error("write", &files.failure, error))
}

/// Removes the failure: the API answers again.
pub(super) fn remove(files: &Files) -> Result<(), ProviderError> {
    match remove_file(&files.failure) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &files.failure, error))
        }
        _ => Ok(()),
    }
}
