//! A store of your own: any folder that the workers share.
//!
//! ```text
//! cargo run --example custom_provider [folder]
//! ```
//!
//! Two workers of one service share a copy of the flag definitions in `flags.json`. Whoever holds the lock on `leader.lock`
//! fetches; the other one reads. The methods are written in whatever way suits each: a plain `fn`, a blocking one, `async`.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};

/// The definitions of one service, in a folder.
#[derive(Clone)]
pub(crate) struct FolderStore {
    folder: PathBuf,
    /// Held for as long as this worker leads. Shared with the clones that blocking methods work on.
    lead: Arc<Mutex<Option<File>>>,
}

impl FolderStore {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), lead: Arc::default() })
    }
}

#[flag_cache_provider]
impl FolderStore {
    /// A plain `fn` runs inline: right for what returns at once, as `try_lock` does.
    pub(crate) fn should_fetch_flag_definitions(&self) -> io::Result<bool> {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        if lead.is_some() {
            return Ok(true);
        }
        let lock = File::options().create(true).write(true).truncate(false).open(self.folder.join("leader.lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                *lead = Some(lock);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Reading may take a while, so it gets a thread of its own.
    #[flag_cache(blocking)]
    pub(crate) fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, Box<dyn Error + Send + Sync>> {
        match std::fs::read(self.folder.join("flags.json")) {
            Ok(json) => Ok(Some(FlagDefinitionCacheData::from_json(json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes beside the copy and renames: a reader sees the old copy or the new one, never half of it.
    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> io::Result<()> {
        let new = self.folder.join("flags.json.new");
        tokio::fs::write(&new, data.to_json()).await?;
        tokio::fs::rename(&new, self.folder.join("flags.json")).await
    }

    /// Gives up the lead at once, so that another worker takes over without delay.
    fn shutdown(&self) {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

pub(crate) const DEFINITIONS: &[u8] = br#"{"flags":[{"id":1,"key":"new-checkout","active":true,"filters":{"groups":[]}}],"group_type_mapping":{},"cohorts":{}}"#;

/// What two pollers would ask of their stores.
pub(crate) async fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    let first: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(FolderStore::new(folder)?);
    let second: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(FolderStore::new(folder)?);

    println!("first worker fetches: {}", first.should_fetch_flag_definitions().await?);
    let fetched = FlagDefinitionCacheData::from_json(DEFINITIONS)?;
    first.on_flag_definitions_received(&fetched).await?;

    println!("second worker fetches: {}", second.should_fetch_flag_definitions().await?);
    let read = second.get_flag_definitions().await?.ok_or("the first worker has published nothing")?;
    println!("second worker read {} bytes", read.to_json().len());

    first.shutdown().await?;
    println!("first worker is gone; second worker fetches: {}", second.should_fetch_flag_definitions().await?);
    second.shutdown().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(folder) => run(Path::new(&folder)).await,
        None => run(tempfile::tempdir()?.path()).await,
    }
}
