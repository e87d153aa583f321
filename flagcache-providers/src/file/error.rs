//! Translates errors of system calls to errors with a remedy.

#[cfg(unix)]
use std::fs::symlink_metadata;
use std::io::{self, ErrorKind};
use std::path::Path;

use flagcache_core::{ProviderError, ProviderErrorKind};

/// The error of `action` ("read", "write" …) on `path`, with what to do about it.
pub(super) fn io_error(action: &str, path: &Path, error: io::Error) -> ProviderError {
    use ProviderErrorKind::{Other, PermissionDenied, Unavailable};
    let (kind, remedy) = match error.kind() {
        _ if is_link(&error) => (
            PermissionDenied,
            ": it is a symbolic link, and only those of a Kubernetes volume, into `..data` beside them, are followed; remove \
             the link",
        ),
        _ if is_in_use(&error) => (
            Unavailable,
            ": another program has it open; close that, or keep programs that scan files away from the cache folder",
        ),
        _ if lacks_locks(&error) => (
            Other,
            ": its file system has no working file locks; put the cache folder on a local disk",
        ),
        ErrorKind::PermissionDenied => {
            let why = file_in_the_way(path, action != "read")
                .or_else(|| folder_in_the_way(path.parent()?))
                .unwrap_or_else(|| NOT_PERMITTED.to_owned());
            return ProviderError::new(
                PermissionDenied,
                format!("cannot {action} {}: {why}", path.display()),
            )
            .with_source(error);
        }
        ErrorKind::ReadOnlyFilesystem => (
            PermissionDenied,
            ": the file system is read-only; put the cache folder where it can be written, or only read it (`ReadOnly`)",
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            Unavailable,
            ": the disk is full; free some space or move the cache folder",
        ),
        ErrorKind::NotADirectory => (Other, ": a part of the path is a file; name a folder"),
        ErrorKind::IsADirectory => (Other, ": it is a folder; remove it"),
        _ => (Unavailable, ""),
    };
    ProviderError::new(kind, format!("cannot {action} {}{remedy}", path.display()))
        .with_source(error)
}

const NOT_PERMITTED: &str = "not permitted; give the user of this process read and write access to the cache folder and its files";

/// The error of replacing `path` in `folder`, for which its own mode does not matter.
pub(super) fn write_error(path: &Path, folder: &Path, error: io::Error) -> ProviderError {
    let (kind, why) = match error.kind() {
        // The error of renaming over a mount point; nothing else makes a regular file busy.
        ErrorKind::ResourceBusy => (
            ProviderErrorKind::Other,
            "it is a mount point, which cannot be replaced; mount the folder, not the file"
                .to_owned(),
        ),
        ErrorKind::PermissionDenied => {
            let why = in_the_way_of_a_rename(path, folder);
            (
                ProviderErrorKind::PermissionDenied,
                why.unwrap_or_else(|| NOT_PERMITTED.to_owned()),
            )
        }
        _ => return io_error("write", path, error),
    };
    ProviderError::new(kind, format!("cannot write {}: {why}", path.display())).with_source(error)
}

/// Why the file at `path` cannot be opened, if the cause is the file and not a parent folder.
#[cfg(unix)]
fn file_in_the_way(path: &Path, writes: bool) -> Option<String> {
    use rustix::fs::Access;
    use std::os::unix::fs::MetadataExt;
    let metadata = symlink_metadata(path).ok()?;
    let needed = if writes {
        Access::READ_OK | Access::WRITE_OK
    } else {
        Access::READ_OK
    };
    if may(path, needed) {
        return None;
    }
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let remedy = if owner == me {
        "give it mode 0600".to_owned()
    } else {
        format!(
            "run all workers of a service as one user, or have user {owner} delete it and give each user a folder"
        )
    };
    Some(format!(
        "not permitted: the file {}; {remedy}",
        of_whom(&metadata, me)
    ))
}

/// The first parent folder without search permission, or `folder` itself if no file can be created in it.
#[cfg(unix)]
fn folder_in_the_way(folder: &Path) -> Option<String> {
    use rustix::fs::Access;
    let mut way: Vec<&Path> = folder.ancestors().collect();
    way.reverse();
    let closed = way
        .into_iter()
        .find(|part| part.exists() && !may(part, Access::EXEC_OK));
    let culprit = closed.or_else(|| (!may(folder, Access::WRITE_OK)).then_some(folder))?;
    let metadata = symlink_metadata(culprit).ok()?;
    let whom = of_whom(&metadata, rustix::process::geteuid().as_raw());
    let remedy = "give the user of this process read, write and search access to it";
    Some(format!(
        "not permitted: the folder {} {whom}; {remedy}",
        culprit.display()
    ))
}

/// Why no file can be renamed to `path` in `folder`.
#[cfg(unix)]
fn in_the_way_of_a_rename(path: &Path, folder: &Path) -> Option<String> {
    folder_in_the_way(folder).or_else(|| sticky_in_the_way(path, folder))
}

/// Windows has one error for a file that must not and one that cannot be replaced.
#[cfg(windows)]
fn in_the_way_of_a_rename(path: &Path, _: &Path) -> Option<String> {
    file_in_the_way(path, true).or_else(|| {
        path.exists().then(|| {
            "not permitted, or another program has it open; close that program, or give the user of this process read and \
             write access to the cache folder and its files"
                .to_owned()
        })
    })
}

/// In a folder with the sticky bit, such as `/tmp`, only its owner may replace a file.
#[cfg(unix)]
fn sticky_in_the_way(path: &Path, folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    const STICKY: u32 = 0o1000;
    let (file, folder) = (symlink_metadata(path).ok()?, symlink_metadata(folder).ok()?);
    let me = rustix::process::geteuid().as_raw();
    (folder.mode() & STICKY != 0 && file.uid() != me).then(|| {
        let whom = of_whom(&file, me);
        format!("not permitted: the file {whom}, and in its folder only the owner may replace it; use a folder without the sticky bit")
    })
}

#[cfg(unix)]
fn of_whom(metadata: &std::fs::Metadata, me: u32) -> String {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == me {
        format!("has mode {mode:04o}")
    } else {
        format!(
            "belongs to user {} with mode {mode:04o}, and this process is user {me}",
            metadata.uid()
        )
    }
}

#[cfg(unix)]
fn may(path: &Path, access: rustix::fs::Access) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS).is_ok()
}

/// Windows denies access to a folder that is opened as a file, and to a file with the read-only attribute.
#[cfg(windows)]
fn file_in_the_way(path: &Path, writes: bool) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.is_dir() {
        Some("it is a folder; remove it".to_owned())
    } else if writes && metadata.permissions().readonly() {
        Some("not permitted: the file is read-only; clear that attribute".to_owned())
    } else {
        None
    }
}

/// Who may use a folder is in an access control list, which the standard library cannot read.
#[cfg(windows)]
fn folder_in_the_way(_: &Path) -> Option<String> {
    None
}

/// The error of a path that is neither a file nor a link.
pub(super) fn not_a_file(path: &Path) -> ProviderError {
    let message = format!("{} is not a regular file; remove it", path.display());
    ProviderError::new(ProviderErrorKind::PermissionDenied, message)
}

#[cfg(unix)]
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(windows)]
fn is_link(_: &io::Error) -> bool {
    false
}

/// Whether another program has the file open and does not share it; only Windows has that.
pub(super) fn is_in_use(error: &io::Error) -> bool {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    cfg!(windows) && error.raw_os_error() == Some(ERROR_SHARING_VIOLATION)
}

#[cfg(unix)]
fn lacks_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(windows)]
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
            (
                Errno::ROFS,
                ProviderErrorKind::PermissionDenied,
                "read-only",
            ),
            (
                Errno::ACCESS,
                ProviderErrorKind::PermissionDenied,
                "not permitted",
            ),
            (
                Errno::LOOP,
                ProviderErrorKind::PermissionDenied,
                "symbolic link",
            ),
            (Errno::NOSPC, ProviderErrorKind::Unavailable, "disk is full"),
            (Errno::DQUOT, ProviderErrorKind::Unavailable, "disk is full"),
            (
                Errno::NOLCK,
                ProviderErrorKind::Other,
                "no working file locks",
            ),
            (
                Errno::OPNOTSUPP,
                ProviderErrorKind::Other,
                "no working file locks",
            ),
            (Errno::NOTDIR, ProviderErrorKind::Other, "name a folder"),
        ];
        for (errno, kind, text) in cases {
            let error = io_error("write", Path::new("/cache/shop.json"), errno.into());
            assert_eq!(error.kind(), kind);
            let shown = error.to_string();
            assert!(
                shown.starts_with("cannot write /cache/shop.json: ") && shown.contains(text),
                "{shown}"
            );
            assert!(!shown.contains("os error") && error.source().is_some());
        }
        let error = io_error("write", Path::new("/cache/shop.json"), Errno::IO.into());
        assert_eq!(error.to_string(), "cannot write /cache/shop.json");
    }

    #[cfg(windows)]
    #[test]
    fn each_cause_has_its_remedy_and_keeps_its_source() {
        use ProviderErrorKind::{Other, PermissionDenied, Unavailable};
        for (code, kind, text) in [
            (5, PermissionDenied, "not permitted; give the user"), // ERROR_ACCESS_DENIED
            (19, PermissionDenied, "read-only"),                   // ERROR_WRITE_PROTECT
            (32, Unavailable, "another program has it open"),      // ERROR_SHARING_VIOLATION
            (112, Unavailable, "disk is full"),                    // ERROR_DISK_FULL
            (120, Other, "no working file locks"),                 // ERROR_CALL_NOT_IMPLEMENTED
            (267, Other, "name a folder"),                         // ERROR_DIRECTORY
        ] {
            let path = Path::new(r"C:\cache\shop.json");
            let error = io_error("write", path, io::Error::from_raw_os_error(code));
            assert_eq!(error.kind(), kind);
            let shown = error.to_string();
            assert!(
                shown.starts_with(r"cannot write C:\cache\shop.json: ") && shown.contains(text),
                "{shown}"
            );
            assert!(!shown.contains("os error") && error.source().is_some());
        }
    }
}
