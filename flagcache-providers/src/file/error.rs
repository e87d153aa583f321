//! What a failed system call means to the user.

use std::io::{self, ErrorKind};
use std::path::Path;

use flagcache_core::{ProviderError, ProviderErrorKind};

/// The error of `action` ("read", "write" …) on `path`, with what to do about it.
pub(super) fn io_error(action: &str, path: &Path, error: io::Error) -> ProviderError {
    use ProviderErrorKind::{Other, PermissionDenied, Unavailable};
    let (kind, remedy) = match error.kind() {
        _ if is_link(&error) => (PermissionDenied, ": it is a symbolic link, which is never followed; remove the link"),
        _ if lacks_locks(&error) => {
            (Other, ": its file system has no working file locks; put the cache folder on a local disk")
        }
        ErrorKind::PermissionDenied => (
            PermissionDenied,
            ": not permitted; give the user of this process read and write access to the cache folder",
        ),
        ErrorKind::ReadOnlyFilesystem => {
            (PermissionDenied, ": the file system is read-only; put the cache folder where it can be written")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (Unavailable, ": the disk is full; free some space or move the cache folder")
        }
        ErrorKind::NotADirectory => (Other, ": a part of the path is a file; name a folder"),
        ErrorKind::IsADirectory => (Other, ": it is a folder; remove it"),
        _ => (Unavailable, ""),
    };
    ProviderError::new(kind, format!("cannot {action} {}{remedy}", path.display())).with_source(error)
}

/// The error of something in the place of one of our files that is neither a file nor a link.
pub(super) fn not_a_file(path: &Path) -> ProviderError {
    let message = format!("{} is not a regular file; remove it", path.display());
    ProviderError::new(ProviderErrorKind::PermissionDenied, message)
}

#[cfg(unix)]
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_link(_: &io::Error) -> bool {
    false
}

#[cfg(unix)]
fn lacks_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(not(unix))]
fn lacks_locks(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn each_cause_has_its_remedy_and_keeps_its_source() {
        use rustix::io::Errno;
        let cases = [
            (Errno::ROFS, ProviderErrorKind::PermissionDenied, "read-only"),
            (Errno::ACCESS, ProviderErrorKind::PermissionDenied, "not permitted"),
            (Errno::LOOP, ProviderErrorKind::PermissionDenied, "symbolic link"),
            (Errno::NOSPC, ProviderErrorKind::Unavailable, "disk is full"),
            (Errno::DQUOT, ProviderErrorKind::Unavailable, "disk is full"),
            (Errno::NOLCK, ProviderErrorKind::Other, "no working file locks"),
            (Errno::OPNOTSUPP, ProviderErrorKind::Other, "no working file locks"),
            (Errno::NOTDIR, ProviderErrorKind::Other, "name a folder"),
        ];
        for (errno, kind, text) in cases {
            let error = io_error("write", Path::new("/cache/shop.json"), errno.into());
            assert_eq!(error.kind(), kind);
            let shown = error.to_string();
            assert!(shown.starts_with("cannot write /cache/shop.json: ") && shown.contains(text), "{shown}");
            assert!(!shown.contains("os error") && error.source().is_some());
        }
        let error = io_error("write", Path::new("/cache/shop.json"), Errno::IO.into());
        assert_eq!(error.to_string(), "cannot write /cache/shop.json");
    }
}
