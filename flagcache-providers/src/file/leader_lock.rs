//! [`Lock`]: an advisory lock on a file, which the operating system releases when its holder dies. The same file
//! records what the API last answered the leader.

use std::fs::{File, TryLockError, symlink_metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use flagcache_core::ProviderError;

use super::builder::Files;
use super::error::io_error;
use super::fs;
use super::identity::FileId;

/// One candidate's lock: held, an open file that it tries to lock, or nothing yet.
#[derive(Debug)]
pub(super) struct Lock {
    files: Arc<Files>,
    handle: Option<Handle>,
}

#[derive(Debug)]
struct Handle {
    file: File,
    id: FileId,
    held: bool,
}

impl Lock {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            handle: None,
        }
    }

    /// Tries to acquire the lock. `true` if it is held, on the file that is at the path now.
    pub(super) fn acquire(&mut self) -> Result<bool, ProviderError> {
        if self.verify() {
            return Ok(true);
        }
        if self.handle.is_none() {
            self.handle = Some(self.open()?);
        }
        let Some(handle) = &mut self.handle else {
            return Ok(false);
        };
        match handle.file.try_lock() {
            Ok(()) => handle.held = true,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => {
                return Err(io_error("lock", &self.files.lock, error));
            }
        }
        // The file may have been deleted between opening and locking it.
        Ok(self.verify())
    }

    /// Whether the lock is held and still effective: other candidates open the path, so a lock on a file that is not
    /// there any more excludes no one. Closes such a file.
    pub(super) fn verify(&mut self) -> bool {
        let Some(handle) = &self.handle else {
            return false;
        };
        let stands = symlink_metadata(&self.files.lock)
            .is_ok_and(|metadata| FileId::of(&metadata) == handle.id);
        if !stands {
            self.handle = None;
        }
        self.is_held()
    }

    /// Whether the lock was held when last checked.
    pub(super) fn is_held(&self) -> bool {
        self.handle.as_ref().is_some_and(|handle| handle.held)
    }

    pub(super) fn release(&mut self) {
        if let Some(handle) = self.handle.take()
            && handle.held
        {
            // Closing alone would not release it while a forked child shares the open file.
            let _ = handle.file.unlock();
        }
    }

    /// The path of the lock file.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Records what the API answered. Only for the holder of the lock.
    pub(super) fn note(&self, confirmation: Confirmation) -> Result<(), ProviderError> {
        let Some(handle) = self.handle.as_ref().filter(|handle| handle.held) else {
            return Ok(());
        };
        handle
            .write(confirmation)
            .map_err(|error| io_error("write", &self.files.lock, error))
    }

    fn open(&self) -> Result<Handle, ProviderError> {
        let path = &self.files.lock;
        let file = fs::or_create(path, &self.files.folder, "open the lock file")?;
        let metadata = file
            .metadata()
            .map_err(|error| io_error("inspect", path, error))?;
        Ok(Handle {
            file,
            id: FileId::of(&metadata),
            held: false,
        })
    }
}

/// The API's answer to the leader's last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The stored copy is current.
    Confirmed,
    /// The project's quota is used up.
    QuotaLimited,
}

impl Confirmation {
    /// The content of the lock file. Readers use its *length*: it comes with the same system call as the time, is never
    /// half-written, and is visible where a locked file cannot be read (Windows).
    fn text(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed\n",
            Self::QuotaLimited => "quota limited\n",
        }
    }
}

impl Handle {
    /// The time of the last confirmation is the file's modification time; before the first one it is the epoch.
    fn write(&self, confirmation: Confirmation) -> io::Result<()> {
        let before = self.file.metadata()?;
        let confirmed_at = match confirmation {
            Confirmation::Confirmed => SystemTime::now(),
            Confirmation::QuotaLimited if before.len() == 0 => SystemTime::UNIX_EPOCH,
            Confirmation::QuotaLimited => before.modified()?,
        };
        let text = confirmation.text();
        if before.len() != text.len() as u64 {
            (&self.file).seek(SeekFrom::Start(0))?;
            (&self.file).write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)?;
        }
        self.file.set_modified(confirmed_at)
    }
}

/// The content of the lock file, as any worker can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LockMetadata {
    pub(super) confirmed_at: Option<SystemTime>,
    pub(super) quota_limited: bool,
}

impl LockMetadata {
    /// The current content. An unreadable lock file counts as unknown, not as an error: the decision reports that.
    pub(super) fn read(lock: &Path) -> Self {
        let Ok(metadata) = symlink_metadata(lock) else {
            return Self::default();
        };
        if !metadata.is_file() || metadata.len() == 0 {
            return Self::default();
        }
        Self {
            confirmed_at: metadata
                .modified()
                .ok()
                .filter(|at| *at > SystemTime::UNIX_EPOCH),
            quota_limited: metadata.len() == Confirmation::QuotaLimited.text().len() as u64,
        }
    }
}
