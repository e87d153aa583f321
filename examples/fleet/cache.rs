//! Which store the fleet shares, chosen by a URL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flagcache::{FileStore, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind};

/// `file:///folder?service=name`. The folder is taken as it stands, without percent-decoding.
#[derive(Clone, Debug)]
pub(crate) struct CacheUrl {
    folder: PathBuf,
    service: String,
}

impl CacheUrl {
    const DEFAULT_SERVICE: &str = "fleet";

    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), service: Self::DEFAULT_SERVICE.to_owned() }
    }

    /// An error is a sentence for the user.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(format!("--cache {url:?} is no URL; give one like file:///folder?service=name"));
        };
        match scheme {
            "file" => Self::parse_file(url, rest),
            "memory" => Err("--cache memory: is a store inside one process, and the fleet's workers are processes; \
                             give a store that they can share, like file:///folder?service=name"
                .to_owned()),
            _ => Err(format!(
                "--cache has the unknown scheme {scheme:?}; this program knows file:///folder?service=name"
            )),
        }
    }

    fn parse_file(url: &str, rest: &str) -> Result<Self, String> {
        let (folder, query) = rest.split_once('?').unwrap_or((rest, ""));
        let folder = folder.strip_prefix("//").filter(|folder| Path::new(folder).is_absolute()).ok_or_else(|| {
            format!("--cache {url:?} must name a folder by its absolute path: file:///folder?service=name")
        })?;
        let service = match query.split_once('=') {
            Some(("service", service)) => service,
            None if query.is_empty() => Self::DEFAULT_SERVICE,
            _ => return Err(format!("--cache {url:?} has a parameter that is not `service`")),
        };
        let cache = Self { folder: PathBuf::from(folder), service: service.to_owned() };
        // The store knows best which names it takes.
        cache.store().map_err(|error| format!("--cache {url:?}: {error}"))?;
        Ok(cache)
    }

    /// A provider for one poller.
    pub(crate) fn provider(&self) -> Result<Arc<dyn FlagDefinitionCacheProvider>, ProviderError> {
        Ok(Arc::new(self.store()?.provider()))
    }

    /// Asks the store for a decision, as a worker's first call does, so that one that cannot work is told at once.
    pub(crate) async fn probe(&self) -> Result<(), ProviderError> {
        let provider = self.provider()?;
        let decision = provider.should_fetch_flag_definitions().await.map(drop);
        provider.shutdown().await?;
        decision
    }

    /// The file that the fleet's copy is in, for the part of the story in which a wrong hand writes to it.
    pub(crate) fn file(&self) -> Result<PathBuf, ProviderError> {
        Ok(self.store()?.path().to_owned())
    }

    fn store(&self) -> Result<FileStore, ProviderError> {
        FileStore::builder(&self.folder, self.service.as_str())
            .build()
            .map_err(|error| ProviderError::new(ProviderErrorKind::Other, error.to_string()))
    }
}

impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}?service={}", self.folder.display(), self.service)
    }
}
