//! [`FileStoreBuilder`]: configures a file store.

use std::io;
use std::path::{Path, PathBuf, absolute};

use thiserror::Error;

use super::FileStore;

/// Leaves room for prefix and suffix within the 255 bytes that file systems allow.
const LONGEST_SERVICE_NAME: usize = 128;

/// Why a [`FileStore`] cannot be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileConfigError {
    /// The service's name cannot be part of a file name.
    #[error(
        "the service name {name:?} {problem}; use 1 to {LONGEST_SERVICE_NAME} ASCII letters, digits, `-`, `_` or `.`, \
         not starting with a dot"
    )]
    Service {
        /// The invalid name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The folder is empty, or relative while the working directory is gone.
    #[error("the cache folder {folder:?} cannot be made an absolute path; give one")]
    Folder {
        /// The given folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Builds a [`FileStore`]; made by [`FileStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct FileStoreBuilder {
    folder: PathBuf,
    service: String,
    watch: bool,
}

impl FileStoreBuilder {
    pub(super) fn new(folder: PathBuf, service: String) -> Self {
        Self {
            folder,
            service,
            watch: true,
        }
    }

    /// Whether to use the operating system's notifications of changes in the folder; on by default. Otherwise, and
    /// where the system has none, a change is seen within about 100 ms. Turn it off on network file systems, which only
    /// notify of changes by the same machine.
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// The store. Accesses no file yet, so a worker starts while the folder is missing or unreadable; its calls then
    /// fail with an error that tells what to do.
    ///
    /// # Errors
    ///
    /// If the service name cannot be part of a file name: it must have 1 to 128 ASCII letters, digits, `-`, `_` or `.`,
    /// and must not start with a dot. If the folder is empty, or relative and the working directory is gone.
    pub fn build(self) -> Result<FileStore, FileConfigError> {
        check_service_name(&self.service)?;
        // The process may change its working directory later.
        let folder = absolute(&self.folder).map_err(|source| FileConfigError::Folder {
            folder: self.folder,
            source,
        })?;
        Ok(FileStore::open(
            Files::new(folder, &self.service),
            self.watch,
        ))
    }
}

fn check_service_name(name: &str) -> Result<(), FileConfigError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST_SERVICE_NAME {
        "is too long"
    } else if name.starts_with('.') {
        "starts with a dot"
    } else if name.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        "has a character that does not belong in a file name"
    } else if cfg!(windows) && is_device(name) {
        "begins with the name of a device of Windows"
    } else {
        return Ok(());
    };
    Err(FileConfigError::Service {
        name: name.to_owned(),
        problem,
    })
}

/// Whether Windows takes files of this name, whatever follows its first dot, for a device.
fn is_device(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let first = first.to_ascii_uppercase();
    let is_port = |kind| {
        first
            .strip_prefix(kind)
            .is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    };
    matches!(first.as_str(), "CON" | "PRN" | "AUX" | "NUL") || is_port("COM") || is_port("LPT")
}

/// The paths of a store's files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) data: PathBuf,
    pub(super) patch: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) failure: PathBuf,
    pub(super) refresh: PathBuf,
    pub(super) staging_prefix: String,
}

impl Files {
    pub(super) const STAGING_SUFFIX: &str = ".tmp";

    pub(super) fn new(folder: PathBuf, service: &str) -> Self {
        Self {
            data: folder.join(format!("{service}.json")),
            patch: folder.join(format!("{service}.patch")),
            lock: folder.join(format!("{service}.lock")),
            failure: folder.join(format!("{service}.failure")),
            refresh: folder.join(format!("{service}.refresh")),
            staging_prefix: format!(".{service}."),
            folder,
        }
    }

    /// Whether this is the name of a temporary file of this very service. The name of another service may be this one
    /// with a dot and more after it; the random part contains no dot.
    pub(super) fn is_staging(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        let random = name
            .strip_prefix(self.staging_prefix.as_str())
            .and_then(|rest| rest.strip_suffix(Self::STAGING_SUFFIX));
        random.is_some_and(|random| {
            !random.is_empty() && random.chars().all(|c| c.is_ascii_alphanumeric())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_part_of_a_file_name_are_refused() {
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "a b",
            "a\0b",
            "a\nb",
            "schlüssel",
            &"x".repeat(129),
        ] {
            let error = check_service_name(name).unwrap_err().to_string();
            assert!(error.contains("use 1 to 128 ASCII letters"), "{error}");
        }
        for name in [
            "a",
            "checkout-prod",
            "checkout_v1.2",
            "Shop..eu",
            &"x".repeat(128),
        ] {
            check_service_name(name).unwrap();
        }
    }

    #[test]
    fn the_name_of_a_device_is_refused_where_it_is_one() {
        for name in ["con", "NUL", "aux.eu", "com1", "Lpt9.shop"] {
            assert!(is_device(name), "{name}");
            assert_eq!(check_service_name(name).is_err(), cfg!(windows), "{name}");
        }
        for name in ["console", "com", "com10", "shop.con"] {
            check_service_name(name).unwrap();
        }
    }

    #[test]
    fn the_staging_files_of_a_longer_service_name_are_not_ours() {
        let files = Files::new(PathBuf::from("/cache"), "shop");
        assert!(files.is_staging(Path::new("/cache/.shop.aB3xYz.tmp")));
        for other in [
            ".shop.eu.aB3xYz.tmp",
            ".shop..tmp",
            ".shopaB3xYz.tmp",
            "shop.json",
            ".shop.tmp",
        ] {
            assert!(!files.is_staging(Path::new(other)), "{other}");
        }
    }
}
