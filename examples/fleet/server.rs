//! [`Server`]: the Redis server of a shared store: its counters, and the keys of the fleet's service.

#[cfg(not(feature = "redis"))]
pub(crate) use none::Server;
#[cfg(feature = "redis")]
pub(crate) use redis::Server;

/// What a server has counted since it was started, for all its clients together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Messages received; a command that is waited for is one.
    pub(crate) messages: u64,
    /// Scripts run.
    pub(crate) scripts: u64,
    /// Commands run, those inside the scripts too.
    pub(crate) commands: u64,
    /// Received and sent.
    pub(crate) bytes: u64,
    /// Connected now.
    pub(crate) clients: u64,
}

impl Counters {
    /// Zeros, if the server was started anew meanwhile.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            scripts: self.scripts.saturating_sub(earlier.scripts),
            commands: self.commands.saturating_sub(earlier.commands),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            clients: self.clients,
        }
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::error::Error;

    use bytes::Bytes;
    use flagcache::StoreUrl;
    use flagcache_providers::testing::RedisInspector;

    use super::Counters;
    use crate::text::in_one_line;

    /// The Redis server that a store is on, and the keys of its service.
    #[derive(Clone, Debug)]
    pub(crate) struct Server(RedisInspector);

    impl Server {
        /// The one that this URL leads to; `None` if its store is on none. Connects to nothing.
        pub(crate) fn of(url: &StoreUrl) -> Result<Option<Self>, Box<dyn Error>> {
            if !url.scheme().starts_with("redis") {
                return Ok(None);
            }
            let inspector = RedisInspector::of_url(url).map_err(|error| error as Box<dyn Error>)?;
            Ok(Some(Self(inspector)))
        }

        pub(crate) async fn counters(&self) -> Result<Counters, String> {
            let counted = self
                .0
                .counters()
                .await
                .map_err(|error| in_one_line(&error))?;
            Ok(Counters {
                messages: counted.messages,
                scripts: counted.scripts,
                commands: counted.commands,
                bytes: counted.bytes,
                clients: counted.clients,
            })
        }

        /// Whether the service has any keys.
        pub(crate) async fn has_keys(&self) -> Result<bool, String> {
            self.0.has_keys().await.map_err(|error| in_one_line(&error))
        }

        /// Removes the service's keys, and nothing else.
        pub(crate) async fn remove_keys(&self) -> Result<(), String> {
            self.0
                .remove_keys()
                .await
                .map_err(|error| in_one_line(&error))
        }

        pub(crate) async fn copy(&self) -> Result<Option<Bytes>, String> {
            self.0.copy().await.map_err(|error| in_one_line(&error))
        }

        pub(crate) async fn set_copy(&self, with: &[u8]) -> Result<(), String> {
            self.0
                .set_copy(with)
                .await
                .map_err(|error| in_one_line(&error))
        }
    }
}

#[cfg(not(feature = "redis"))]
mod none {
    use std::error::Error;

    use bytes::Bytes;
    use flagcache::StoreUrl;

    use super::Counters;

    /// No store of this build is on a server.
    #[derive(Clone, Debug)]
    pub(crate) enum Server {}

    impl Server {
        pub(crate) fn of(_url: &StoreUrl) -> Result<Option<Self>, Box<dyn Error>> {
            Ok(None)
        }

        pub(crate) async fn counters(&self) -> Result<Counters, String> {
            match *self {}
        }

        pub(crate) async fn has_keys(&self) -> Result<bool, String> {
            match *self {}
        }

        pub(crate) async fn remove_keys(&self) -> Result<(), String> {
            match *self {}
        }

        pub(crate) async fn copy(&self) -> Result<Option<Bytes>, String> {
            match *self {}
        }

        pub(crate) async fn set_copy(&self, _with: &[u8]) -> Result<(), String> {
            match *self {}
        }
    }
}
