//! Which store the fleet shares, chosen by a URL.

use std::env;
use std::error::Error;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flagcache::{FileStore, FlagDefinitionCacheProvider, ProviderError, ProviderRegistry, StoreUrl};

/// A URL that opens a store, as `ProviderRegistry` knows them. It may hold a password, so it goes to the workers by the
/// environment and is never shown.
#[derive(Clone)]
pub(crate) struct CacheUrl {
    url: String,
    scheme: String,
    /// Where the copy is, if that is a file.
    file: Option<PathBuf>,
    lock_life: Duration,
}

impl CacheUrl {
    /// Where a worker finds it.
    const VARIABLE: &str = "FLEET_CACHE";

    pub(crate) fn in_folder(folder: &Path) -> Result<Self, String> {
        let mut url = "file://".to_owned();
        for byte in folder.to_string_lossy().bytes() {
            if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url.push_str("?service=fleet");
        Self::parse(&url)
    }

    /// An error is a sentence for the user, without the URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        Self::understand(url).map_err(|error| format!("--cache: {}", in_one_line(&*error)))
    }

    fn understand(url: &str) -> Result<Self, Box<dyn Error>> {
        let parsed = StoreUrl::parse(url)?;
        if parsed.scheme() == "memory" {
            return Err(
                "a memory store is inside one process, and the fleet's workers are processes; give a store that \
                        they can share, like file:///folder?service=name"
                    .into(),
            );
        }
        ProviderRegistry::bundled().open(url)?;
        let file = match parsed.file_path().filter(|_| parsed.scheme() == "file") {
            Some(folder) => Some(FileStore::builder(folder, parsed.required("service")?).build()?.path().to_owned()),
            None => None,
        };
        // The system frees a file's lock at once; others live until they run out.
        let lock_life = match &file {
            Some(_) => Duration::ZERO,
            None => parsed.duration("lock_life")?.unwrap_or(Duration::from_secs(10)),
        };
        Ok(Self { url: url.to_owned(), scheme: parsed.scheme().to_owned(), file, lock_life })
    }

    /// What a worker was given.
    pub(crate) fn from_env() -> Result<Option<Self>, String> {
        env::var(Self::VARIABLE).ok().map(|url| Self::parse(&url)).transpose()
    }

    /// As an environment variable, for a worker.
    pub(crate) fn to_env(&self) -> (&'static str, &str) {
        (Self::VARIABLE, &self.url)
    }

    /// A provider for one poller.
    pub(crate) fn provider(&self) -> Result<Arc<dyn FlagDefinitionCacheProvider>, String> {
        ProviderRegistry::bundled().open(&self.url).map_err(|error| in_one_line(&error))
    }

    /// Asks the store for a decision, as a worker's first call does, so that one that cannot work is told at once.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let provider = self.provider()?;
        let decision: Result<bool, ProviderError> = provider.should_fetch_flag_definitions().await;
        let ending = provider.shutdown().await;
        decision.map(drop).and(ending).map_err(|error| format!("--cache: {}", in_one_line(&error)))
    }

    /// The file that the fleet's copy is in, for the part of the story in which a wrong hand writes to it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// How long a killed leader's lock lives on, at the longest.
    pub(crate) fn lock_life(&self) -> Duration {
        self.lock_life
    }
}

/// What it is, without what may be a secret.
impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "the file {}", file.display()),
            None => write!(f, "a {} store", self.scheme),
        }
    }
}

impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheUrl({self})")
    }
}

/// An error and its causes.
fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line
}
