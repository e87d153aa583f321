//! Opens the bundled stores by URL.

use super::schemes::ProviderRegistry;
#[cfg(feature = "redis")]
use super::schemes::SCHEMES;

/// The registry of the bundled stores that are compiled in.
impl Default for ProviderRegistry {
    fn default() -> Self {
        let mut registry = Self::empty();
        #[cfg(feature = "memory")]
        registry.add::<crate::MemoryProvider>("memory");
        #[cfg(feature = "file")]
        registry.add::<crate::FileProvider>("file");
        #[cfg(feature = "redis")]
        for (scheme, ..) in SCHEMES.iter().filter(|(_, feature, _)| *feature == "redis") {
            registry.add_with::<crate::RedisProvider>(scheme, redis::options(scheme));
        }
        #[cfg(feature = "postgres")]
        for scheme in ["postgres", "postgresql"] {
            registry.add_fn(scheme, postgres::OPTIONS, postgres::open);
        }
        registry
    }
}

#[cfg(feature = "memory")]
mod memory {
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use std::error::Error;

    use crate::registry::{OpenProvider, StoreUrl};
    use crate::{MemoryProvider, MemoryStore};

    /// The named stores of this process. They live as long as it does: a copy outlives the poller that stored it.
    static STORES: Mutex<Option<HashMap<String, MemoryStore>>> = Mutex::new(None);

    impl OpenProvider for MemoryProvider {
        const OPTIONS: &'static [&'static str] = &[];

        fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
            if url.has_authority() {
                return Err(url.bad_url("write memory: or memory:name").into());
            }
            let mut stores = STORES.lock();
            let store = stores
                .get_or_insert_default()
                .entry(url.path().to_owned())
                .or_default();
            Ok(store.provider())
        }
    }
}

#[cfg(feature = "file")]
mod file {
    use std::error::Error;

    use crate::registry::{OpenProvider, StoreUrl};
    use crate::{FileProvider, FileStore};

    impl OpenProvider for FileProvider {
        const OPTIONS: &'static [&'static str] = &["service", "watch"];

        fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
            // Without the slashes a relative path would be taken for an absolute one.
            let folder = url.file_path().filter(|_| url.has_authority());
            let folder = folder.ok_or_else(|| {
                url.bad_url(if cfg!(windows) {
                    "write file:///C:/folder?service=name, or file://server/share/folder?service=name"
                } else {
                    "write file:///folder?service=name, with three slashes"
                })
            })?;
            let mut builder = FileStore::builder(folder, url.required("service")?);
            if let Some(watch) = url.flag("watch")? {
                builder = builder.watch(watch);
            }
            Ok(builder.build()?.provider())
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::file_content;
    use crate::PostgresStore;
    use crate::registry::StoreUrl;
    use crate::registry::open::Opened;

    /// Options of the client's own.
    const CLIENT: &[&str] = &[
        "sslmode",
        "application_name",
        "options",
        "target_session_attrs",
    ];

    pub(super) const OPTIONS: &[&str] = &[
        "service",
        "table",
        "lease_ttl",
        "response_timeout",
        "listen",
        "ca",
        "sslmode",
        "application_name",
        "options",
        "target_session_attrs",
    ];

    pub(super) fn open(url: &StoreUrl) -> Opened {
        let own = url.expose_with_options(CLIENT);
        let mut builder = PostgresStore::builder(own, url.required("service")?);
        if let Some(table) = url.option("table") {
            builder = builder.table(table);
        }
        if let Some(ttl) = url.duration("lease_ttl")? {
            builder = builder.lease_ttl(ttl);
        }
        if let Some(timeout) = url.duration("response_timeout")? {
            builder = builder.response_timeout(timeout);
        }
        if let Some(listen) = url.flag("listen")? {
            builder = builder.listen(listen);
        }
        if let Some(roots) = file_content(url, "ca")? {
            builder = builder.root_certificates(roots);
        }
        Ok(Box::new(builder.build()?.provider()))
    }
}

#[cfg(any(feature = "redis", feature = "postgres"))]
fn file_content(
    url: &super::StoreUrl,
    option: &'static str,
) -> Result<Option<Vec<u8>>, super::RegistryError> {
    let read = |path| {
        std::fs::read(path)
            .map_err(|_| url.bad_option(option, "the path of a file that can be read"))
    };
    url.option(option).map(read).transpose()
}

#[cfg(feature = "redis")]
mod redis {
    use std::error::Error;

    use super::file_content as file;
    use crate::registry::{OpenProvider, StoreUrl};
    use crate::{RedisProvider, RedisStore};

    const ALWAYS: &[&str] = &[
        "service",
        "lock_ttl",
        "response_timeout",
        "data_ttl",
        "protocol",
    ];
    const WITH_TLS: &[&str] = &["ca", "cert", "key"];
    const WITH_SENTINELS: &[&str] = &["sentinel_username", "sentinel_password"];
    /// Options for which the URL of a socket has no other place.
    const BY_SOCKET: &[&str] = &["db", "user", "pass"];

    /// The options of this scheme.
    pub(super) fn options(scheme: &str) -> Vec<&'static str> {
        let more = |has: bool, options: &'static [&'static str]| if has { options } else { &[] };
        [
            ALWAYS,
            more(scheme.starts_with("rediss"), WITH_TLS),
            more(scheme.ends_with("+sentinel"), WITH_SENTINELS),
            more(scheme.ends_with("unix"), BY_SOCKET),
        ]
        .concat()
    }

    impl OpenProvider for RedisProvider {
        /// The options of all schemes; each scheme has some of them.
        const OPTIONS: &'static [&'static str] = &[
            "service",
            "lock_ttl",
            "response_timeout",
            "data_ttl",
            "protocol",
            "ca",
            "cert",
            "key",
            "sentinel_username",
            "sentinel_password",
            "db",
            "user",
            "pass",
        ];

        fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
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
            let mut builder = RedisStore::builder(own, url.required("service")?);
            if let Some(life) = url.duration("lock_ttl")? {
                builder = builder.lock_ttl(life);
            }
            if let Some(limit) = url.duration("response_timeout")? {
                builder = builder.response_timeout(limit);
            }
            match url.option("data_ttl") {
                None => {}
                Some("none") => builder = builder.data_ttl(None),
                Some(_) => builder = builder.data_ttl(url.duration("data_ttl")?),
            }
            if let Some(roots) = file(url, "ca")? {
                builder = builder.root_certificates(roots);
            }
            match (file(url, "cert")?, file(url, "key")?) {
                (Some(certificate), Some(key)) => {
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
            if let Some(username) = url.option("sentinel_username") {
                builder = builder.sentinel_username(username);
            }
            if let Some(password) = url.option("sentinel_password") {
                builder = builder.sentinel_password(password);
            }
            Ok(builder.build()?.provider())
        }
    }
}
