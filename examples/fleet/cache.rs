//! Which store the fleet shares, chosen by a URL.

use std::env;
use std::error::Error;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flagcache::{
    FileStore, FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError,
    ProviderRegistry, StoreUrl,
};
use url::Url;

use crate::protocol::UnixMicros;
use crate::server::Server;
use crate::text::in_one_line;

/// How long the copy of a killed fleet stays on a server.
const DATA_TTL: &str = "10m";
/// Definitions of about 10 KB and 10 MB: their part of the service's name, and their number of flags.
const SIZES: [(&str, usize); 2] = [("10-kb", 12), ("10-mb", 13_000)];

/// A URL that opens a store, as `ProviderRegistry` knows them. It may hold a password, so it goes to the workers by the
/// environment and is never shown.
#[derive(Clone)]
pub(crate) struct CacheUrl {
    url: String,
    scheme: String,
    service: String,
    copy_location: Option<CopyLocation>,
    lock_ttl: Duration,
}

impl CacheUrl {
    /// The environment variable for workers.
    const VARIABLE: &str = "FLEET_CACHE";

    pub(crate) fn in_folder(folder: &Path) -> Result<Self, String> {
        let mut url = Url::from_file_path(folder)
            .map_err(|()| format!("{} is no absolute path", folder.display()))?;
        url.set_query(Some("service=fleet"));
        Self::parse(url.as_str())
    }

    /// An error is a sentence for the user, without the URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        Self::try_parse(url).map_err(|error| format!("--cache: {}", in_one_line(&*error)))
    }

    fn try_parse(url: &str) -> Result<Self, Box<dyn Error>> {
        let mut url = url.trim().to_owned();
        let mut parsed = StoreUrl::parse(&url)?;
        if parsed.scheme() == "memory" {
            return Err(
                "a memory store is inside one process, and the fleet's workers are processes; give a store that \
                        they can share, like file:///folder?service=name"
                    .into(),
            );
        }
        if parsed.scheme().starts_with("redis") && parsed.option("service").is_none() {
            // A unique name: the run touches no other keys.
            let name = format!("fleet-{}-{}", std::process::id(), UnixMicros::now());
            // A cluster keeps the keys together by the braces.
            let name = if parsed.scheme().ends_with("cluster") {
                format!("{{{name}}}")
            } else {
                name
            };
            url = with_option(&url, "service", &name);
            if parsed.option("data_ttl").is_none() {
                url = with_option(&url, "data_ttl", DATA_TTL);
            }
            parsed = StoreUrl::parse(&url)?;
        }
        ProviderRegistry::default().open(&url)?;
        let service: String = parsed.required("service")?;
        let copy_location = match parsed.file_path().filter(|_| parsed.scheme() == "file") {
            Some(folder) => Some(CopyLocation::File(
                FileStore::builder(folder, &service)
                    .build()?
                    .path()
                    .to_owned(),
            )),
            None => Server::of(&parsed)?.map(CopyLocation::Server),
        };
        // The operating system releases a file's lock at once; other locks stay until their TTL ends.
        let lock_ttl = match &copy_location {
            Some(CopyLocation::File(_)) => Duration::ZERO,
            _ => parsed.value("lock_ttl")?.unwrap_or(Duration::from_secs(10)),
        };
        Ok(Self {
            scheme: parsed.scheme().to_owned(),
            url,
            service,
            copy_location,
            lock_ttl,
        })
    }

    /// Caches beside this one for measuring followers that have nothing to do, each with a number of flags; none if the
    /// store is not on a server that counts. The leader's lock outlives the measurement, so that nothing renews it.
    pub(crate) fn for_ticks(&self) -> Result<Vec<(usize, Self)>, String> {
        if self.server().is_none() {
            return Ok(Vec::new());
        }
        let beside = |(name, flags): (&str, usize)| {
            let url = with_option(&self.url, "service", &format!("{}-{name}", self.service));
            // A large set takes its time in a debug build.
            let url = with_option(
                &with_option(&url, "response_timeout", "10s"),
                "lock_ttl",
                "10m",
            );
            Ok((
                flags,
                Self::parse(&with_option(&url, "data_ttl", DATA_TTL))?,
            ))
        };
        SIZES.into_iter().map(beside).collect()
    }

    /// The cache of a worker process.
    pub(crate) fn from_env() -> Result<Option<Self>, String> {
        env::var(Self::VARIABLE)
            .ok()
            .map(|url| Self::parse(&url))
            .transpose()
    }

    /// As an environment variable, for a worker.
    pub(crate) fn to_env(&self) -> (&'static str, &str) {
        (Self::VARIABLE, &self.url)
    }

    /// A provider for one poller.
    pub(crate) fn provider(&self) -> Result<Box<dyn FlagDefinitionCacheProvider>, String> {
        ProviderRegistry::default()
            .open(&self.url)
            .map_err(|error| in_one_line(&error))
    }

    /// Asks the store for a decision, as a worker's first call does, so that an unusable store is reported at once.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let provider = self.provider()?;
        let decision: Result<bool, ProviderError> = provider.should_fetch_flag_definitions().await;
        let ending = provider.shutdown().await;
        decision
            .map(drop)
            .and(ending)
            .map_err(|error| format!("--cache: {}", in_one_line(&error)))
    }

    /// Whether it is a Redis, and so for larger fleets.
    pub(crate) fn is_redis(&self) -> bool {
        self.scheme.starts_with("redis")
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The location of the copy, for the step that damages it.
    pub(crate) fn copy_location(&self) -> Option<&CopyLocation> {
        self.copy_location.as_ref()
    }

    /// The server that it is on.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.copy_location {
            Some(CopyLocation::Server(server)) => Some(server),
            _ => None,
        }
    }

    /// The longest time that a killed leader's lock stays.
    pub(crate) fn lock_ttl(&self) -> Duration {
        self.lock_ttl
    }
}

/// A description without secrets.
impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.copy_location {
            Some(CopyLocation::File(file)) => write!(f, "the file {}", file.display()),
            _ => write!(f, "a {} store, as service {}", self.scheme, self.service),
        }
    }
}

impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheUrl({self})")
    }
}

/// Direct access to the shared copy, without the store.
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

/// The URL with this option, in place of the one that it may have.
fn with_option(url: &str, name: &str, value: &str) -> String {
    let (before, options) = url.split_once('?').unwrap_or((url, ""));
    let is_other = |option: &&str| !option.is_empty() && option.split('=').next() != Some(name);
    let mut options: Vec<_> = options
        .split('&')
        .filter(is_other)
        .map(str::to_owned)
        .collect();
    options.push(format!("{name}={}", encoded(value)));
    format!("{before}?{}", options.join("&"))
}

/// Percent-encoded, except letters, digits and unreserved characters.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
