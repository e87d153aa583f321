//! Direct access to the shared copy, past the store.

use std::fs;
use std::path::PathBuf;

use flagcache::FlagDefinitionCacheData;

use crate::server::Server;

/// What holds the copy.
#[derive(Clone, Debug)]
pub(crate) enum CopyLocation {
    File(PathBuf),
    Server(Server),
}

impl CopyLocation {
    /// The copy; `None` if there is none that can be read.
    pub(crate) async fn read(&self) -> Option<FlagDefinitionCacheData> {
        let copy = match self {
            Self::File(path) => fs::read(path).ok()?.into(),
            Self::Server(server) => server.copy().await.ok()??,
        };
        FlagDefinitionCacheData::from_json(copy).ok()
    }

    /// Overwrites the copy as a foreign writer would: the file in place, or the key without a check of the lock.
    pub(crate) async fn overwrite(&self, with: &[u8]) -> Result<(), String> {
        match self {
            Self::File(path) => {
                fs::write(path, with).map_err(|error| format!("{}: {error}", path.display()))
            }
            Self::Server(server) => server.set_copy(with).await,
        }
    }
}
