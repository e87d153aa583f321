//! The options of the bundled stores' URLs.

use super::schemes::ProviderRegistry;

/// The registry of the bundled stores that are compiled in.
impl Default for ProviderRegistry {
    fn default() -> Self {
        #[allow(unused_mut, reason = "there may be no store")]
        let mut registry = Self::empty();
        #[cfg(feature = "memory")]
        registry.add::<memory::MemoryUrl>();
        #[cfg(feature = "file")]
        registry.add::<file::FileUrl>();
        #[cfg(feature = "redis")]
        registry.add::<redis::RedisUrl>();
        #[cfg(feature = "postgres")]
        registry.add::<postgres::PostgresUrl>();
        #[cfg(feature = "object-store")]
        registry.add::<bucket::BucketUrl>();
        registry
    }
}

#[cfg(feature = "memory")]
mod memory {
    use std::collections::HashMap;

    use flagcache_derive::OpenProvider;
    use parking_lot::Mutex;

    use crate::registry::{RegistryError, StoreUrl};
    use crate::{MemoryProvider, MemoryStore};

    /// The named stores of this process. They are never removed, so a copy outlives the poller that stored it.
    static STORES: Mutex<Option<HashMap<String, MemoryStore>>> = Mutex::new(None);

    #[derive(OpenProvider)]
    #[open_provider(schemes("memory"), crate = crate)]
    pub(super) struct MemoryUrl {
        #[open_provider(url)]
        url: StoreUrl,
    }

    impl MemoryUrl {
        fn open(self) -> Result<MemoryProvider, RegistryError> {
            if self.url.has_authority() {
                return Err(self.url.bad_url("write memory: or memory:name"));
            }
            let mut stores = STORES.lock();
            let store = stores
                .get_or_insert_default()
                .entry(self.url.path().to_owned())
                .or_default();
            Ok(store.provider())
        }
    }
}

#[cfg(feature = "file")]
mod file {
    use std::error::Error;

    use flagcache_derive::OpenProvider;

    use crate::registry::StoreUrl;
    use crate::{FileProvider, FileStore};

    #[derive(OpenProvider)]
    #[open_provider(schemes("file"), crate = crate)]
    pub(super) struct FileUrl {
        #[open_provider(url)]
        url: StoreUrl,
        /// The name of the service, which is part of the names of the files.
        service: String,
        /// Whether to use the change notifications of the operating system; set it to false on a network file system.
        #[open_provider(default = "true")]
        watch: bool,
    }

    impl FileUrl {
        fn open(self) -> Result<FileProvider, Box<dyn Error + Send + Sync>> {
            // Without the slashes, a relative path would be read as an absolute one.
            let folder = self.url.file_path().filter(|_| self.url.has_authority());
            let folder = folder.ok_or_else(|| {
                self.url.bad_url(if cfg!(windows) {
                    "write file:///C:/folder?service=name, or file://server/share/folder?service=name"
                } else {
                    "write file:///folder?service=name, with three slashes"
                })
            })?;
            let store = FileStore::builder(folder, self.service).watch(self.watch);
            Ok(store.build()?.provider())
        }
    }
}

/// The content of the file whose path is the option's value.
#[cfg(any(feature = "redis", feature = "postgres", feature = "object-store"))]
struct Pem(Vec<u8>);

#[cfg(any(feature = "redis", feature = "postgres", feature = "object-store"))]
impl super::OptionValue for Pem {
    const EXPECTED: &'static str = "the path of a readable file";

    fn parse(path: &str) -> Option<Self> {
        std::fs::read(path).ok().map(Self)
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use flagcache_derive::OpenProvider;

    use super::Pem;
    use crate::registry::StoreUrl;
    use crate::{PostgresConfigError, PostgresStore, VersionedProvider};

    #[derive(OpenProvider)]
    #[open_provider(schemes("postgres", "postgresql"), crate = crate)]
    pub(super) struct PostgresUrl {
        #[open_provider(url)]
        url: StoreUrl,
        /// The name of the service, which is part of the keys of the rows.
        service: String,
        /// The table, optionally with a schema; `flagcache` by default.
        table: Option<String>,
        /// The TTL of the lease: the time within which a killed leader is replaced; 10 s by default.
        lease_ttl: Option<Duration>,
        /// The timeout of one call, including connecting; 1 s by default.
        response_timeout: Option<Duration>,
        /// Whether to listen for changes on a separate connection.
        #[open_provider(default = "true")]
        listen: bool,
        /// A PEM file with the root certificates to trust.
        ca: Option<Pem>,
        /// Whether to use TLS: disable, prefer (the default) or require.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        sslmode: Option<String>,
        /// The name of the connections in the views of the server; `flagcache` by default.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        application_name: Option<String>,
        /// Command-line options for the server.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        options: Option<String>,
        /// Which of several servers to use: any, read-write or read-only.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        target_session_attrs: Option<String>,
    }

    /// The options that the client reads from the URL.
    const CLIENT: &[&str] = &[
        "sslmode",
        "application_name",
        "options",
        "target_session_attrs",
    ];

    impl PostgresUrl {
        fn open(self) -> Result<VersionedProvider, PostgresConfigError> {
            let own = self.url.expose_with_options(CLIENT);
            let mut builder = PostgresStore::builder(own, self.service).listen(self.listen);
            if let Some(table) = self.table {
                builder = builder.table(table);
            }
            if let Some(ttl) = self.lease_ttl {
                builder = builder.lease_ttl(ttl);
            }
            if let Some(timeout) = self.response_timeout {
                builder = builder.response_timeout(timeout);
            }
            if let Some(Pem(roots)) = self.ca {
                builder = builder.root_certificates(roots);
            }
            Ok(builder.build()?.provider())
        }
    }
}

#[cfg(feature = "object-store")]
mod bucket {
    use std::time::Duration;

    use flagcache_derive::OpenProvider;

    use super::Pem;
    use crate::registry::StoreUrl;
    use crate::{BucketConfigError, BucketStore, VersionedProvider};

    #[derive(OpenProvider)]
    #[open_provider(schemes("s3", "gs", "az"), crate = crate)]
    pub(super) struct BucketUrl {
        #[open_provider(url)]
        url: StoreUrl,
        /// The name of the service, which is part of the names of the objects.
        service: String,
        /// The TTL of the lease: the time within which a killed leader is replaced; 60 s by default.
        lease_ttl: Option<Duration>,
        /// The timeout of one call, including connecting; 1 s by default.
        response_timeout: Option<Duration>,
        /// A PEM file with root certificates, trusted in addition to those of the system.
        ca: Option<Pem>,
        /// The URL of a compatible server.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        endpoint: Option<String>,
        /// The region of the bucket.
        #[open_provider(schemes("s3"))]
        #[expect(dead_code, reason = "the client reads it from the URL")]
        region: Option<String>,
        /// The name of the storage account.
        #[open_provider(schemes("az"))]
        #[expect(dead_code, reason = "the client reads it from the URL")]
        account_name: Option<String>,
    }

    /// The options that the client reads from the URL. Secrets belong in the environment.
    const CLIENT: &[&str] = &["endpoint", "region", "account_name"];

    impl BucketUrl {
        fn open(self) -> Result<VersionedProvider, BucketConfigError> {
            let own = self.url.expose_with_options(CLIENT);
            let mut builder = BucketStore::builder(own, self.service);
            if let Some(ttl) = self.lease_ttl {
                builder = builder.lease_ttl(ttl);
            }
            if let Some(timeout) = self.response_timeout {
                builder = builder.response_timeout(timeout);
            }
            if let Some(Pem(roots)) = self.ca {
                builder = builder.root_certificates(roots);
            }
            Ok(builder.build()?.provider())
        }
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::error::Error;
    use std::time::Duration;

    use flagcache_derive::OpenProvider;
    use secrecy::{ExposeSecret, SecretString};

    use super::Pem;
    use crate::registry::{OptionValue, StoreUrl};
    use crate::{RedisProvider, RedisStore};

    /// `None` means forever.
    struct DataTtl(Option<Duration>);

    impl OptionValue for DataTtl {
        const EXPECTED: &'static str = "a whole number with a unit: 500ms, 10s, 5m, 24h; or none";

        fn parse(text: &str) -> Option<Self> {
            match text {
                "none" => Some(Self(None)),
                _ => Duration::parse(text).map(|ttl| Self(Some(ttl))),
            }
        }
    }

    #[derive(OpenProvider)]
    #[open_provider(
        schemes(
            "redis",
            "rediss",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
            "redis+unix",
            "unix",
        ),
        crate = crate
    )]
    pub(super) struct RedisUrl {
        #[open_provider(url)]
        url: StoreUrl,
        /// The name of the service, which is part of the keys.
        service: String,
        /// The TTL of the leader lock: the time within which a killed leader is replaced; 10 s by default.
        lock_ttl: Option<Duration>,
        /// The timeout of one call, including connecting; 1 s by default.
        response_timeout: Option<Duration>,
        /// How long the copy is kept after the last leader, or none to keep it forever; 24 h by default.
        data_ttl: Option<DataTtl>,
        /// The protocol of the connections: resp3 (the default) or resp2.
        #[expect(dead_code, reason = "the client reads it from the URL")]
        protocol: Option<String>,
        /// A PEM file with the root certificates to trust.
        #[open_provider(schemes("rediss", "rediss+sentinel", "rediss+cluster"))]
        ca: Option<Pem>,
        /// A PEM file with the client certificate; requires `key`.
        #[open_provider(schemes("rediss", "rediss+sentinel", "rediss+cluster"))]
        cert: Option<Pem>,
        /// A PEM file with the private key of the client certificate.
        #[open_provider(schemes("rediss", "rediss+sentinel", "rediss+cluster"))]
        key: Option<Pem>,
        /// A file with the password, in place of that in the URL; it may be replaced while workers run.
        password_file: Option<String>,
        /// The ACL user of the Sentinels.
        #[open_provider(schemes("redis+sentinel", "rediss+sentinel"))]
        sentinel_username: Option<String>,
        /// The password of the Sentinels.
        #[open_provider(schemes("redis+sentinel", "rediss+sentinel"))]
        sentinel_password: Option<SecretString>,
        /// The number of the database.
        #[open_provider(schemes("redis+unix", "unix"))]
        #[expect(dead_code, reason = "the client reads it from the URL")]
        db: Option<String>,
        /// The ACL user. URLs of sockets have no other place for it.
        #[open_provider(schemes("redis+unix", "unix"))]
        #[expect(dead_code, reason = "the client reads it from the URL")]
        user: Option<String>,
        /// The password. URLs of sockets have no other place for it.
        #[open_provider(schemes("redis+unix", "unix"))]
        #[expect(dead_code, reason = "the client reads it from the URL")]
        pass: Option<SecretString>,
    }

    #[cfg(feature = "testing")]
    impl crate::testing::RedisInspector {
        /// Returns the builder for the store of this URL.
        ///
        /// # Errors
        /// If the URL does not open a Redis store.
        pub fn of_url(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
            Ok(Self::of(&RedisUrl::try_from(url)?.open()?))
        }
    }

    impl RedisUrl {
        fn open(self) -> Result<RedisProvider, Box<dyn Error + Send + Sync>> {
            let url = self.url;
            let is_socket = url.scheme().ends_with("unix");
            if is_socket
                && (!url.has_authority()
                    || url.host().is_some()
                    || url.path().trim_matches('/').is_empty())
            {
                return Err(url
                    .bad_url("write redis+unix:///path/to.sock?service=name, with three slashes")
                    .into());
            }
            // Options of the Redis client.
            let own = url.expose_with_options(&["protocol", "db", "user", "pass"]);
            let mut builder = RedisStore::builder(own, self.service);
            if let Some(ttl) = self.lock_ttl {
                builder = builder.lock_ttl(ttl);
            }
            if let Some(timeout) = self.response_timeout {
                builder = builder.response_timeout(timeout);
            }
            if let Some(DataTtl(ttl)) = self.data_ttl {
                builder = builder.data_ttl(ttl);
            }
            if let Some(Pem(roots)) = self.ca {
                builder = builder.root_certificates(roots);
            }
            match (self.cert, self.key) {
                (Some(Pem(certificate)), Some(Pem(key))) => {
                    builder = builder.client_certificate(certificate, key)
                }
                (None, None) => {}
                (Some(_), None) => {
                    return Err(url.bad_option("cert", "it together with `key`").into());
                }
                (None, Some(_)) => {
                    return Err(url.bad_option("key", "it together with `cert`").into());
                }
            }
            if let Some(path) = self.password_file {
                builder = builder.password_file(path);
            }
            if let Some(username) = self.sentinel_username {
                builder = builder.sentinel_username(username);
            }
            if let Some(password) = self.sentinel_password {
                builder = builder.sentinel_password(password.expose_secret());
            }
            Ok(builder.build()?.provider())
        }
    }
}
