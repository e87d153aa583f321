//! Opening our own files, and only those.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use flagcache_core::ProviderError;

use super::error::{io_error, not_a_file};

/// Opens the data file; `None` if there is none.
pub(super) fn existing(path: &Path, action: &str) -> Result<Option<File>, ProviderError> {
    match guarded(OpenOptions::new().read(true)).open(path) {
        Ok(file) => regular(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(action, path, error)),
    }
}

/// Opens a file for reading and writing, and creates it and its folder if they are missing.
pub(super) fn or_create(path: &Path, folder: &Path, action: &str) -> Result<File, ProviderError> {
    let mut options = OpenOptions::new();
    guarded(options.read(true).write(true).create(true).truncate(false));
    private(&mut options);
    let file = in_folder(folder, || options.open(path)).map_err(|error| io_error(action, path, error))?;
    regular(file, path)
}

/// Opens a file that is there for reading and writing; some network file systems lock no other.
pub(super) fn for_writing(path: &Path) -> io::Result<File> {
    guarded(OpenOptions::new().read(true).write(true)).open(path)
}

/// Runs `create`, and again after making the folder if that is what was missing.
pub(super) fn in_folder<T>(folder: &Path, create: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(folder)?;
            create()
        }
        outcome => outcome,
    }
}

/// A link could lead our writes elsewhere, and opening a pipe would wait for its other end.
#[cfg(unix)]
fn guarded(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
}

#[cfg(not(unix))]
fn guarded(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

/// On Windows a file that is open without the right to share deletion stays where it is, so the lock file of a leader
/// cannot be replaced.
#[cfg(windows)]
fn private(options: &mut OpenOptions) {
    const READ_AND_WRITE: u32 = 0x1 | 0x2;
    std::os::windows::fs::OpenOptionsExt::share_mode(options, READ_AND_WRITE);
}

#[cfg(not(any(unix, windows)))]
fn private(_: &mut OpenOptions) {}

fn regular(file: File, path: &Path) -> Result<File, ProviderError> {
    let metadata = file.metadata().map_err(|error| io_error("inspect", path, error))?;
    if metadata.is_file() { Ok(file) } else { Err(not_a_file(path)) }
}
