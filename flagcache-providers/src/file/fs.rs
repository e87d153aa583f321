//! Opens the store's own files safely.

use std::fs::{DirBuilder, File, OpenOptions, canonicalize, read_link, remove_file, rename};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flagcache_core::ProviderError;
use tempfile::NamedTempFile;

use super::builder::Files;
use super::error::{io_error, is_in_use, not_a_file};

/// The link by which Kubernetes replaces all files of a volume atomically.
pub(super) const VOLUME_LINK: &str = "..data";

/// The path to read the data file from: `path`, or its target in a Kubernetes volume, whose files are links through a
/// link `..data` that is replaced at each change. No other link is followed.
pub(super) fn place_of(path: &Path, folder: &Path) -> PathBuf {
    let target = || {
        if !read_link(path).ok()?.starts_with(VOLUME_LINK) {
            return None;
        }
        let target = canonicalize(path).ok()?;
        target
            .starts_with(canonicalize(folder).ok()?)
            .then_some(target)
    };
    target().unwrap_or_else(|| path.to_owned())
}

/// Opens the data file; `None` if it does not exist.
pub(super) fn existing(path: &Path, action: &str) -> Result<Option<File>, ProviderError> {
    match guarded(OpenOptions::new().read(true)).open(path) {
        Ok(file) => regular(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(action, path, error)),
    }
}

/// Opens a file for reading and writing; creates it and its folder if they are missing.
pub(super) fn or_create(path: &Path, folder: &Path, action: &str) -> Result<File, ProviderError> {
    let mut options = OpenOptions::new();
    guarded(options.read(true).write(true).truncate(false));
    private(&mut options);
    let create = || match options.clone().create_new(true).open(path) {
        Ok(file) => ensure_private(&file).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    };
    let file = in_folder(folder, create).map_err(|error| io_error(action, path, error))?;
    regular(file, path)
}

/// Opens an existing file for reading and writing; some network file systems require that for locks.
pub(super) fn for_writing(path: &Path) -> io::Result<File> {
    guarded(OpenOptions::new().read(true).write(true)).open(path)
}

/// Creates a temporary file that others can read and that shows the cleanup of a new leader that its writer is alive: by a
/// lock.
#[cfg(unix)]
pub(super) fn temp_file(files: &Files) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(&files.staging_prefix)
        .suffix(Files::STAGING_SUFFIX)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    let file = builder.tempfile_in(&files.folder)?;
    ensure_private(file.as_file())?;
    file.as_file().lock()?;
    Ok(file)
}

/// Creates a temporary file that others can read and that shows the cleanup of a new leader that its writer is alive: others
/// cannot open it for writing. On Windows a lock would keep readers out.
#[cfg(windows)]
pub(super) fn temp_file(files: &Files) -> io::Result<NamedTempFile> {
    const READ_AND_DELETE: u32 = 0x1 | 0x4;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, READ_AND_DELETE);
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(&files.staging_prefix)
        .suffix(Files::STAGING_SUFFIX);
    builder.make_in(&files.folder, |path| options.open(path))
}

/// Renames a temporary file to `target`, and replaces what is there. The standard library's rename replaces a file on
/// Windows too while readers have it open; `NamedTempFile::persist` does not.
pub(super) fn replace(file: NamedTempFile, target: &Path) -> io::Result<File> {
    /// Virus scanners, indexers and programs that share nothing have a file open for milliseconds.
    const PATIENCE: Duration = Duration::from_millis(500);
    let (file, path) = file.keep().map_err(|error| error.error)?;
    let deadline = Instant::now() + PATIENCE;
    let renamed = loop {
        match rename(&path, target) {
            Err(error) if may_be_in_use(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => break outcome,
        }
    };
    if renamed.is_err() {
        let _ = remove_file(&path);
    }
    renamed.map(|()| file)
}

/// Whether another program may have the file open, which on Windows prevents that it is replaced.
fn may_be_in_use(error: &io::Error) -> bool {
    cfg!(windows) && (error.kind() == io::ErrorKind::PermissionDenied || is_in_use(error))
}

/// Runs `create`; if the folder is missing, creates it and retries.
pub(super) fn in_folder<T>(folder: &Path, create: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(folder)?;
            create()
        }
        outcome => outcome,
    }
}

/// Creates the folder and its missing parents one by one: the umask may remove permissions that are needed to create
/// the next one.
fn make_folder(folder: &Path) -> io::Result<()> {
    #[cfg_attr(windows, allow(unused_mut, reason = "Windows has no modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = match (builder.create(folder), folder.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(parent)?;
            builder.create(folder)
        }
        (made, _) => made,
    };
    match made {
        Ok(()) => ensure_folder_private(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if folder.is_dir() {
                Ok(())
            } else {
                Err(io::Error::new(io::ErrorKind::NotADirectory, error))
            }
        }
        Err(error) => Err(error),
    }
}

/// Sets the mode of a new file, of which a umask may have removed some bits.
#[cfg(unix)]
fn ensure_private(file: &File) -> io::Result<()> {
    ensure_mode(&file.metadata()?, 0o600, |permissions| {
        file.set_permissions(permissions)
    })
}

#[cfg(unix)]
fn ensure_folder_private(folder: &Path) -> io::Result<()> {
    ensure_mode(&std::fs::symlink_metadata(folder)?, 0o700, |permissions| {
        std::fs::set_permissions(folder, permissions)
    })
}

/// A file system without modes may refuse; that matters only if the owner lacks a permission.
#[cfg(unix)]
fn ensure_mode(
    metadata: &std::fs::Metadata,
    wanted: u32,
    set: impl FnOnce(std::fs::Permissions) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode == wanted {
        return Ok(());
    }
    set(std::fs::Permissions::from_mode(wanted)).or_else(|error| {
        if mode & wanted == wanted {
            Ok(())
        } else {
            Err(error)
        }
    })
}

#[cfg(windows)]
fn ensure_private(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(windows)]
fn ensure_folder_private(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A link could redirect our writes, and opening a pipe would wait for its other end.
#[cfg(unix)]
fn guarded(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
}

/// On Windows only administrators and developers can create links, and a pipe has a name outside of folders.
#[cfg(windows)]
fn guarded(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

/// On Windows a file that is open without sharing deletion cannot be removed, so a leader's lock file cannot be
/// replaced.
#[cfg(windows)]
fn private(options: &mut OpenOptions) {
    const READ_AND_WRITE: u32 = 0x1 | 0x2;
    std::os::windows::fs::OpenOptionsExt::share_mode(options, READ_AND_WRITE);
}

fn regular(file: File, path: &Path) -> Result<File, ProviderError> {
    let metadata = file
        .metadata()
        .map_err(|error| io_error("inspect", path, error))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(not_a_file(path))
    }
}
