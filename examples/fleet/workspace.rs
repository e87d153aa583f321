//! [`Workspace`]: the caches of one run, and their removal.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::cache::CacheUrl;
use crate::server::Server;

/// The caches of one run. Call [`clear`](Self::clear) when the fleets have ended. A drop removes a temporary folder, but
/// keys on a server stay until they expire.
pub(crate) struct Workspace {
    /// What the fleet shares.
    pub(crate) cache: CacheUrl,
    /// Unless the user has given a cache.
    temporary: Option<TempDir>,
    /// The services of this run on a server, once it is known that they are its own.
    servers: Vec<Server>,
    /// The other connections of the server at the time of the check, if it reports them.
    pub(crate) other_clients: Option<u64>,
}

impl Workspace {
    /// The cache that the user has given, or a temporary folder.
    pub(crate) fn new(given: Option<&CacheUrl>) -> Result<Self, String> {
        let Some(cache) = given else {
            let temporary = TempDir::with_prefix("flagcache-fleet-").map_err(|error| {
                format!("cannot make a temporary folder for the cache: {error}")
            })?;
            let cache = CacheUrl::in_folder(temporary.path())?;
            return Ok(Self {
                cache,
                temporary: Some(temporary),
                servers: Vec::new(),
                other_clients: None,
            });
        };
        Ok(Self {
            cache: cache.clone(),
            temporary: None,
            servers: Vec::new(),
            other_clients: None,
        })
    }

    /// Asks the store for a decision, as a worker's first call does, so that an unusable store is reported at once. A
    /// service that is in use on a server is refused: this run would take its lock, overwrite its copy, and remove both.
    pub(crate) async fn check(&mut self) -> Result<(), String> {
        let caches = [self.cache.clone()]
            .into_iter()
            .chain(self.cache.for_ticks()?.into_iter().map(|(_, cache)| cache));
        let servers: Vec<_> = caches.filter_map(|cache| cache.server().cloned()).collect();
        if let Some(server) = servers.first() {
            // The one that asks is one of them.
            self.other_clients = server
                .counters()
                .await
                .ok()
                .map(|counters| counters.clients.saturating_sub(1));
        }
        for server in &servers {
            if server
                .has_keys()
                .await
                .map_err(|error| format!("--cache: {error}"))?
            {
                return Err(
                    "--cache: the service has keys on this server already, and the story would overwrite and remove \
                     them; give the name of a service that is not in use, or none at all"
                        .to_owned(),
                );
            }
        }
        self.servers = servers;
        self.cache.probe().await
    }

    /// Removes what the fleets left behind; a copy in the user's own folder stays for the next start. Says what was
    /// removed and is gone, if anything is to go. Can be called again.
    pub(crate) async fn clear(&self) -> Result<Option<String>, String> {
        if let Some(folder) = self.temporary_folder() {
            return match std::fs::remove_dir_all(&folder) {
                Err(error) if folder.exists() => Err(format!("{}: {error}", folder.display())),
                _ => Ok(Some(folder.display().to_string())),
            };
        }
        for server in &self.servers {
            server.remove_keys().await?;
            if server.has_keys().await? {
                return Err("the keys of a service were removed, and are there again".to_owned());
            }
        }
        Ok((!self.servers.is_empty()).then(|| format!("the keys of {}", self.cache.service())))
    }

    fn temporary_folder(&self) -> Option<PathBuf> {
        self.temporary
            .as_ref()
            .map(|folder| folder.path().to_owned())
    }
}
