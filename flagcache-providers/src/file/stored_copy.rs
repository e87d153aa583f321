//! [`StoredCopy`]: the data file, read when it changed and replaced atomically.

use parking_lot::{Mutex, MutexGuard};
use std::fs::{File, FileTimes, read_dir, remove_file, symlink_metadata};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flagcache_core::{DataError, FlagDefinitionCacheData, ProviderError};
use tempfile::NamedTempFile;

use super::builder::Files;
use super::error::{io_error, write_error};
use super::fs;
use super::identity::Identity;
use super::patch;

/// The data file, and the copy last read from it. All methods block; call them from threads where that is allowed.
#[derive(Debug)]
pub(super) struct StoredCopy {
    files: Arc<Files>,
    last: Mutex<Option<Content>>,
}

/// An identity of the file and its content. Invalid content is remembered too, so that it is parsed once, not at every
/// tick.
#[derive(Debug)]
struct Content {
    identity: Identity,
    found: Result<FlagDefinitionCacheData, Arc<DataError>>,
    /// Whether a later write is certain to change the identity.
    lasting: bool,
}

impl StoredCopy {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            last: Mutex::new(None),
        }
    }

    /// The current identity of the file; `None` if it does not exist.
    pub(super) fn identity(&self) -> Result<Option<Identity>, ProviderError> {
        match symlink_metadata(fs::place_of(&self.files.data, &self.files.folder)) {
            Ok(metadata) => Ok(Some(Identity::of(&metadata))),
            // On Windows nothing is found in a file, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.files.folder.is_file() {
                    let error = io::Error::new(io::ErrorKind::NotADirectory, error);
                    return Err(io_error("inspect", &self.files.data, error));
                }
                Ok(None)
            }
            Err(error) => Err(io_error("inspect", &self.files.data, error)),
        }
    }

    /// The content of the file with `identity`, or of a later one. Read only if unknown.
    pub(super) fn read(
        &self,
        identity: Option<Identity>,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let Some(identity) = identity else {
            return Ok(None);
        };
        // Held while reading, so that many pollers of one process read a new file once.
        let mut last = self.last();
        if let Some(content) = last.as_ref()
            && content.identity == identity
            && content.lasting
        {
            return self.deliver(content).map(Some);
        }
        let previous = last.as_ref().and_then(|last| last.found.as_ref().ok());
        *last = self.load(SystemTime::now(), previous)?;
        last.as_ref()
            .map(|content| self.deliver(content))
            .transpose()
    }

    /// Replaces the stored copy by `data`, unless `still_leads` returns false just before the last step. The new
    /// identity of the file, if it was replaced.
    pub(super) fn replace(
        &self,
        data: &FlagDefinitionCacheData,
        still_leads: impl FnOnce() -> bool,
    ) -> Result<Option<Identity>, ProviderError> {
        self.remove_stale_temp_files();
        let staged = self.stage(data)?;
        self.write_patch(data);
        if !still_leads() {
            return Ok(None);
        }
        let written = self.identity_of(staged.as_file())?;
        let file =
            fs::replace(staged, &self.files.data).map_err(|error| self.write_error(error))?;
        self.placed(&file, written, data).map(Some)
    }

    /// Writes the patch to `data` if the copy that it replaces is known.
    fn write_patch(&self, data: &FlagDefinitionCacheData) {
        let Ok(Some(identity)) = self.identity() else {
            return;
        };
        let known = self.last().as_ref().and_then(|last| {
            let is_current = last.identity == identity && last.lasting;
            last.found.as_ref().ok().filter(|_| is_current).cloned()
        });
        if let Some(old) = known
            && let Err(error) = patch::write(&self.files, &old, data)
        {
            tracing::debug!(
                path = %self.files.patch.display(),
                %error,
                "readers read the whole copy, because the patch to it cannot be written"
            );
        }
    }

    /// Stores `data` if there is no file. The new identity of the file, if it was created.
    pub(super) fn create(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<Option<Identity>, ProviderError> {
        let staged = self.stage(data)?;
        let written = self.identity_of(staged.as_file())?;
        match staged.persist_noclobber(&self.files.data) {
            Ok(file) => self.placed(&file, written, data).map(Some),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(self.write_error(error.error)),
        }
    }

    /// Removes the temporary files of killed writers. Those of living writers are locked from before their first byte, or
    /// cannot be opened (see [`fs::temp_file`]).
    pub(super) fn remove_stale_temp_files(&self) {
        /// Empty files stay, because their writer may be about to lock them.
        const LONG_AGO: Duration = Duration::from_secs(60);
        let Ok(entries) = read_dir(&self.files.folder) else {
            return;
        };
        for path in entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| self.files.is_staging(path))
        {
            let Ok(file) = fs::for_writing(&path) else {
                continue;
            };
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            let is_old = metadata
                .modified()
                .ok()
                .and_then(|at| at.elapsed().ok())
                .is_some_and(|age| age > LONG_AGO);
            if (metadata.len() > 0 || is_old) && file.try_lock().is_ok() {
                let _ = remove_file(&path);
            }
        }
    }

    /// Reads the file, which probably differs little from `previous`; `now` is a time before the read.
    fn load(
        &self,
        now: SystemTime,
        previous: Option<&FlagDefinitionCacheData>,
    ) -> Result<Option<Content>, ProviderError> {
        let path = &fs::place_of(&self.files.data, &self.files.folder);
        let Some(mut file) = fs::existing(path, "read")? else {
            return Ok(None);
        };
        let mut read = || {
            let metadata = file.metadata()?;
            let identity = Identity::of(&metadata);
            let patched =
                previous.and_then(|old| patch::apply(&self.files, &mut file, metadata.len(), old));
            let found = match patched {
                Some(found) => Ok(found),
                None => FlagDefinitionCacheData::from_reader_after(&mut file, previous)?,
            };
            Ok((identity, found.map_err(Arc::new)))
        };
        let (identity, found) = read().map_err(|error| io_error("read", path, error))?;
        // Our writers never write into a visible file, and give each a new time. Other programs may do anything.
        let is_ours = found.as_ref().is_ok_and(|data| data.fetched_at().is_some());
        let lasting = is_ours || !identity.may_be_written_unseen(now);
        Ok(Some(Content {
            identity,
            found,
            lasting,
        }))
    }

    fn deliver(&self, content: &Content) -> Result<FlagDefinitionCacheData, ProviderError> {
        content.found.clone().map_err(|error| {
            let path = self.files.data.display();
            let message = format!(
                "{path} is not valid flag definitions; the leader replaces it at its next tick, or delete it"
            );
            ProviderError::new(flagcache_core::ProviderErrorKind::InvalidData, message).with_source(error)
        })
    }

    /// Writes `data` to a new temporary file, and syncs it.
    fn stage(&self, data: &FlagDefinitionCacheData) -> Result<NamedTempFile, ProviderError> {
        let create = || fs::temp_file(&self.files);
        let write = || {
            let mut staged = fs::in_folder(&self.files.folder, create)?;
            for part in data.to_json_parts() {
                staged.write_all(&part)?;
            }
            self.date(staged.as_file())?;
            staged.as_file().sync_all()?;
            Ok(staged)
        };
        write().map_err(|error| self.write_error(error))
    }

    /// Two writes within the resolution of the file system's clock would get the same time, and a freed inode is soon
    /// reused. So a new file always gets a later time than the one that it replaces.
    fn date(&self, file: &File) -> io::Result<()> {
        /// The unit of the times of NTFS; other local file systems have a finer one.
        const CLOCK_UNIT: Duration = Duration::from_nanos(100);
        let replaced = symlink_metadata(&self.files.data).and_then(|metadata| metadata.modified());
        let Ok(replaced) = replaced else {
            return Ok(());
        };
        if file.metadata()?.modified()? > replaced {
            return Ok(());
        }
        let next = replaced
            .checked_add(CLOCK_UNIT)
            .unwrap_or_else(SystemTime::now);
        file.set_times(FileTimes::new().set_modified(next))
    }

    /// Remembers what was written. `written` is the identity of the file before it was renamed.
    fn placed(
        &self,
        file: &File,
        written: Identity,
        data: &FlagDefinitionCacheData,
    ) -> Result<Identity, ProviderError> {
        let identity = self.identity_of(file)?;
        // Another program has written to it since: its content is unknown, so read it.
        let untouched = identity.is_only_renamed(&written);
        *self.last() = untouched.then(|| Content {
            identity,
            found: Ok(data.clone()),
            lasting: true,
        });
        sync_folder(&self.files.folder)
            .map_err(|error| io_error("sync", &self.files.folder, error))?;
        Ok(identity)
    }

    fn identity_of(&self, file: &File) -> Result<Identity, ProviderError> {
        file.metadata()
            .map(|metadata| Identity::of(&metadata))
            .map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> ProviderError {
        write_error(&self.files.data, &self.files.folder, error)
    }

    fn last(&self) -> MutexGuard<'_, Option<Content>> {
        self.last.lock()
    }
}

/// Syncs the folder, so that the new name is durable. Some network file systems cannot.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Windows cannot sync a folder; NTFS logs its changes.
#[cfg(windows)]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn copy(folder: &TempDir) -> StoredCopy {
        StoredCopy::new(Arc::new(Files::new(PathBuf::from(folder.path()), "shop")))
    }

    fn set(key: &str) -> FlagDefinitionCacheData {
        let body = format!(r#"{{"flags":[{{"key":"{key}"}}]}}"#);
        FlagDefinitionCacheData::from_api_response(body, None, SystemTime::now(), None).unwrap()
    }

    #[test]
    fn b8_65_a_writer_that_lost_leadership_while_writing_replaces_nothing() {
        let folder = TempDir::new().unwrap();
        let copy = copy(&folder);
        copy.replace(&set("new"), || true).unwrap().unwrap();
        let stored = copy.identity().unwrap();
        assert_eq!(copy.replace(&set("old"), || false).unwrap(), None);
        assert_eq!(copy.identity().unwrap(), stored);
        assert_eq!(
            read_dir(folder.path()).unwrap().count(),
            1,
            "the temporary file stayed"
        );
    }

    #[test]
    fn a_file_that_is_being_written_is_not_swept_away() {
        let folder = TempDir::new().unwrap();
        let (writer, successor) = (copy(&folder), copy(&folder));
        let staged = writer.stage(&set("beta")).unwrap();
        successor.remove_stale_temp_files();
        staged.persist(&writer.files.data).unwrap();
    }

    #[test]
    fn what_was_written_is_known_without_reading_it() {
        let folder = TempDir::new().unwrap();
        let copy = copy(&folder);
        let written = set("beta");
        let identity = copy.replace(&written, || true).unwrap();
        assert_eq!(copy.identity().unwrap(), identity);
        let known = copy.read(identity).unwrap().unwrap();
        assert_eq!(known.raw_json().as_ptr(), written.raw_json().as_ptr());
    }

    #[test]
    #[cfg_attr(
        windows,
        ignore = "Windows lets no other program write to the file while its writer has it open"
    )]
    fn b8_66_a_file_changed_by_others_right_after_its_rename_is_read() {
        let folder = TempDir::new().unwrap();
        let copy = copy(&folder);
        let staged = copy.stage(&set("beta")).unwrap();
        let written = copy.identity_of(staged.as_file()).unwrap();
        let file = staged.persist(&copy.files.data).unwrap();
        std::fs::write(&copy.files.data, r#"{"flags":[]}"#).unwrap();
        let identity = copy.placed(&file, written, &set("beta")).unwrap();
        assert_eq!(copy.identity().unwrap(), Some(identity));
        assert!(copy.read(Some(identity)).unwrap().unwrap().is_empty());
    }

    #[test]
    fn a_foreign_file_is_trusted_only_when_a_later_write_would_show() {
        let folder = TempDir::new().unwrap();
        let copy = copy(&folder);
        let lasting = |after: Duration| {
            let modified = symlink_metadata(&copy.files.data)
                .unwrap()
                .modified()
                .unwrap();
            copy.load(modified + after, None).unwrap().unwrap().lasting
        };
        let (at_once, later) = (Duration::from_millis(5), Duration::from_millis(60));
        for other in ["garbage", r#"{"flags":[]}"#] {
            std::fs::write(&copy.files.data, other).unwrap();
            assert!(!lasting(at_once));
            assert!(lasting(later));
        }
        copy.replace(&set("beta"), || true).unwrap();
        assert!(lasting(at_once), "our own writers date each copy anew");
    }

    #[test]
    fn each_copy_is_dated_after_the_one_before() {
        let folder = TempDir::new().unwrap();
        let copy = copy(&folder);
        let modified = || {
            symlink_metadata(folder.path().join("shop.json"))
                .unwrap()
                .modified()
                .unwrap()
        };
        copy.replace(&set("first"), || true).unwrap();
        let future = SystemTime::now() + Duration::from_secs(3600);
        File::options()
            .write(true)
            .open(folder.path().join("shop.json"))
            .unwrap()
            .set_modified(future)
            .unwrap();
        let before = modified();
        copy.replace(&set("other"), || true).unwrap();
        assert_eq!(modified(), before + Duration::from_nanos(100));
    }
}
