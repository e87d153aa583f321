//! A store of your own: use it if the workers share a system that flagcache has no store for. Here it is a folder.
//!
//! ```text
//! cargo run --example custom_provider [folder]
//! ```
//!
//! Two workers of one service share a copy of the flag definitions in `flags.json`. Whoever holds the lock on `leader.lock`
//! fetches; the other one reads. The methods are written in whatever way suits each: a plain `fn` or a blocking one. Each
//! could be `async`.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use flagcache::{
    FetchError, FetchResponse, FlagDefinitionCacheData, FlagDefinitionPoller, FlagDefinitionSource,
    flag_cache_provider,
};

/// The definitions of one service, in a folder.
#[derive(Clone)]
pub(crate) struct FolderStore {
    folder: PathBuf,
    /// Locked while this worker leads. Shared with the clones on which blocking methods run.
    lead: Arc<Mutex<Option<File>>>,
}

impl FolderStore {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            lead: Arc::default(),
        })
    }
}

#[flag_cache_provider]
impl FolderStore {
    /// A plain `fn` runs inline: suitable for calls that return at once, such as `try_lock`.
    pub(crate) fn should_fetch_flag_definitions(&self) -> io::Result<bool> {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        if lead.is_some() {
            return Ok(true);
        }
        let lock = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(self.folder.join("leader.lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                *lead = Some(lock);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Reading can take a while, so it runs on a thread of its own.
    #[flag_cache(blocking)]
    pub(crate) fn get_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, Box<dyn Error + Send + Sync>> {
        match std::fs::read(self.folder.join("flags.json")) {
            Ok(json) => Ok(Some(FlagDefinitionCacheData::from_json(json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes beside the copy and renames: a reader sees the old copy or the new one, never half of it.
    /// The new file has a name of its own, since two workers may write at the same time.
    #[flag_cache(blocking)]
    fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        new.write_all(&data.to_json())?;
        new.persist(self.folder.join("flags.json"))
            .map(drop)
            .map_err(|error| error.error)
    }

    /// Releases the lock at once, so that another worker leads without delay.
    fn shutdown(&self) {
        self.lead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

pub(crate) const DEFINITIONS: &[u8] = br#"{"flags":[{"id":1,"key":"new-checkout","active":true,"filters":{"groups":[]}}],"group_type_mapping":{},"cohorts":{}}"#;

/// Replaces PostHog, so that this example runs without a project. Your worker uses `PostHogApi::from_env()?` instead.
struct Sample;

#[async_trait]
impl FlagDefinitionSource for Sample {
    async fn fetch(&self, _etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        Ok(FetchResponse::Definitions {
            body: DEFINITIONS.into(),
            etag: None,
        })
    }
}

/// Starts a worker and waits for its flags.
async fn worker(name: &str, folder: &Path) -> Result<FlagDefinitionPoller, Box<dyn Error>> {
    let store = FolderStore::new(folder)?;
    let flags = FlagDefinitionPoller::builder()
        .source(Sample)
        .flag_definition_cache_provider(store)
        .start()?;
    flags.wait_ready(Duration::from_secs(5)).await?;
    println!(
        "{name} is ready after {} requests",
        flags.status().counters.requests
    );
    Ok(flags)
}

/// Runs two workers, of which first one and then the other leads. Returns the number of requests of each.
pub(crate) async fn run(folder: &Path) -> Result<[u64; 2], Box<dyn Error>> {
    let first = worker("the first worker", folder).await?;
    let second = worker("the second worker", folder).await?;
    let requests = [
        first.status().counters.requests,
        second.status().counters.requests,
    ];

    first.shutdown().await?;
    second.refresh().await?;
    println!(
        "the first one is gone; the second one has sent {} request",
        second.status().counters.requests
    );
    second.shutdown().await?;
    Ok(requests)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(folder) => run(Path::new(&folder)).await?,
        None => run(tempfile::tempdir()?.path()).await?,
    };
    Ok(())
}
