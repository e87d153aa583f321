//! [`FileStore`]: the store that the workers of one machine share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder::Files;
use super::shared::Shared;
use super::{FileProvider, FileStoreBuilder};

/// One copy of the flag definitions in a file, shared by the processes of one machine. Cheap to clone; see the
/// [module](crate::file) for what it guarantees and which files it writes.
#[derive(Clone, Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
}

impl FileStore {
    /// A store in `folder` for the workers of `service`. Many services can share a folder.
    pub fn builder(folder: impl Into<PathBuf>, service: impl Into<String>) -> FileStoreBuilder {
        FileStoreBuilder::new(folder.into(), service.into())
    }

    pub(super) fn open(files: Files, watch: bool) -> Self {
        Self {
            shared: Arc::new(Shared::new(files, watch)),
        }
    }

    /// A provider for a single poller. Each has its own identity; also of several in one process
    /// only one leads.
    pub fn provider(&self) -> FileProvider {
        FileProvider::new(Arc::clone(&self.shared))
    }

    /// The path of the stored copy.
    pub fn path(&self) -> &Path {
        &self.shared.files().data
    }
}
