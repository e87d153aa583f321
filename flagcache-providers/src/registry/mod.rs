//! [`ProviderRegistry`]: opens a store by its URL, for example from an environment variable.
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use flagcache_providers::ProviderRegistry;
//!
//! let url = std::env::var("FLAGCACHE_URL").unwrap_or("memory:".to_owned());
//! let provider = ProviderRegistry::default().open(&url)?;
//! # let _ = provider;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))]
//! # fn main() {}
//! ```
//!
//! | URL | store | options | feature |
//! |---|---|---|---|
//! | `memory:`, `memory:name` | the unnamed or the named `MemoryStore` of this process | | `memory` |
//! | `file:///folder?service=name` | a `FileStore` in that folder | `service`, `watch=false` | `file` |
//! | `postgres://[user:password@]host[:port]/database?service=name`, or `postgresql://…` | a `PostgresStore` | `service`, `table`, `lease_ttl=10s`, `response_timeout=1s`, `listen=false`, `ca`, `sslmode`, `application_name`, `options`, `target_session_attrs` | `postgres` |
//! | `s3://bucket[/prefix]?service=name`, `gs://…`, `az://container…` | a `BucketStore` | `service`, `lease_ttl=60s`, `response_timeout=1s`, `endpoint`, `ca`; for `s3` also `region`, for `az` also `account_name` | `object-store` |
//! | `redis://[user:password@]host[:port][/database]?service=name` | a `RedisStore` on one server | `service`, `lock_ttl=10s`, `response_timeout=1s`, `data_ttl=24h` or `data_ttl=none`, `protocol=resp3`, `password_file=path` | `redis` |
//! | `redis+unix:///path/to.sock?service=name`, or `unix:///…` | a `RedisStore` on one server, through a Unix socket | the same, `db=0`, `user`, `pass` | `redis` |
//! | `redis+sentinel://[user:password@]host[:port],host[:port]…/primary-name[/database]?service=name` | a `RedisStore` on the primary that the Sentinels name | as of one server, `sentinel_username`, `sentinel_password` | `redis` |
//! | `redis+cluster://[user:password@]host[:port],host[:port]…?service={name}` | a `RedisStore` on a cluster | as of one server | `redis` |
//! | `rediss://…`, `rediss+sentinel://…`, `rediss+cluster://…` | the same with TLS | the same, `ca`, `cert` and `key`, paths of PEM files | `redis` |
//!
//! Durations are whole numbers with a unit: `500ms`, `10s`, `5m`, `24h`. Characters that have a meaning in URLs must be
//! percent-encoded: `#` in a password is `%23`.
//!
//! Opening does not connect, and reads no file except certificates: a worker starts while its store is down. Each call
//! of [`open`](ProviderRegistry::open) returns a provider for one poller.
//!
//! A URL may contain a password. Errors and `Debug` of this module show only its scheme and the names of its options.
//!
//! # A store of your own
//!
//! Declare the options of the URL as the fields of a struct, derive [`OpenProvider`] for it, and
//! [register](ProviderRegistry::register) it.

mod bundled;
mod error;
mod open;
mod options;
mod schemes;
mod store_url;
#[doc(hidden)]
pub mod support;

pub use error::RegistryError;
pub use open::{OpenProvider, Opened};
pub use options::{OptionValue, UrlOption};
pub use schemes::ProviderRegistry;
// The type of a secret option, and the trait that reads its value.
pub use secrecy::{ExposeSecret, SecretString};
pub use store_url::StoreUrl;
