//! The URLs of the bundled stores.

use super::ProviderRegistry;

/// Every scheme of a bundled store, the feature that compiles it in, and whether that is on.
pub(super) const SCHEMES: [(&str, &str, bool); 8] = [
    ("memory", "memory", cfg!(feature = "memory")),
    ("file", "file", cfg!(feature = "file")),
    ("redis", "redis", cfg!(feature = "redis")),
    ("rediss", "redis", cfg!(feature = "redis")),
    ("redis+sentinel", "redis", cfg!(feature = "redis")),
    ("rediss+sentinel", "redis", cfg!(feature = "redis")),
    ("redis+cluster", "redis", cfg!(feature = "redis")),
    ("rediss+cluster", "redis", cfg!(feature = "redis")),
];

pub(super) fn add_to(registry: &mut ProviderRegistry) {
    #[cfg(feature = "memory")]
    registry.add::<crate::MemoryProvider>("memory");
    #[cfg(feature = "file")]
    registry.add::<crate::FileProvider>("file");
    #[cfg(feature = "redis")]
    for scheme in ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"] {
        registry.add::<crate::RedisProvider>(scheme);
    }
    // Nothing is compiled in.
    let _ = registry;
}

#[cfg(feature = "memory")]
mod memory {
    use std::collections::HashMap;
    use std::error::Error;
    use std::sync::{Mutex, PoisonError};

    use crate::registry::{OpenProvider, StoreUrl};
    use crate::{MemoryProvider, MemoryStore};

    /// The stores of this process by their names, for as long as it lives: a copy outlives the poller that stored it.
    static STORES: Mutex<Option<HashMap<String, MemoryStore>>> = Mutex::new(None);

    impl OpenProvider for MemoryProvider {
        const OPTIONS: &'static [&'static str] = &[];

        fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
            if url.has_authority() {
                return Err(url.bad_url("write memory: or memory:name").into());
            }
            let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
            let store = stores.get_or_insert_default().entry(url.path().to_owned()).or_default();
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
            let folder = folder.ok_or_else(|| url.bad_url("write file:///folder?service=name, with three slashes"))?;
            let mut builder = FileStore::builder(folder, url.required("service")?);
            if let Some(watch) = url.flag("watch")? {
                builder = builder.watch(watch);
            }
            Ok(builder.build()?.provider())
        }
    }
}

#[cfg(feature = "redis")]
mod redis {
    use std::error::Error;

    use crate::registry::{OpenProvider, RegistryError, StoreUrl};
    use crate::{RedisProvider, RedisStore};

    impl OpenProvider for RedisProvider {
        const OPTIONS: &'static [&'static str] = &[
            "service",
            "lock_life",
            "response_limit",
            "copy_life",
            "protocol",
            "ca",
            "cert",
            "key",
            "sentinel_username",
            "sentinel_password",
        ];

        fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
            // The protocol's version is an option of the client's own.
            let mut builder = RedisStore::builder(url.expose_with_options(&["protocol"]), url.required("service")?);
            if let Some(life) = url.duration("lock_life")? {
                builder = builder.lock_life(life);
            }
            if let Some(limit) = url.duration("response_limit")? {
                builder = builder.response_limit(limit);
            }
            match url.option("copy_life") {
                None => {}
                Some("none") => builder = builder.copy_life(None),
                Some(_) => builder = builder.copy_life(url.duration("copy_life")?),
            }
            if let Some(roots) = file(url, "ca")? {
                builder = builder.root_certificates(roots);
            }
            match (file(url, "cert")?, file(url, "key")?) {
                (Some(certificate), Some(key)) => builder = builder.client_certificate(certificate, key),
                (None, None) => {}
                (Some(_), None) => return Err(url.bad_option("cert", "it together with `key`").into()),
                (None, Some(_)) => return Err(url.bad_option("key", "it together with `cert`").into()),
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

    fn file(url: &StoreUrl, option: &'static str) -> Result<Option<Vec<u8>>, RegistryError> {
        let read =
            |path| std::fs::read(path).map_err(|_| url.bad_option(option, "the path of a file that can be read"));
        url.option(option).map(read).transpose()
    }
}
