//! [`OpenProvider`]: implemented by providers that a URL can open.

use std::error::Error;

use flagcache_core::FlagDefinitionCacheProvider;

use super::StoreUrl;

/// What a URL opened.
pub(super) type Opened = Result<Box<dyn FlagDefinitionCacheProvider>, Box<dyn Error + Send + Sync>>;

/// A provider that a URL describes.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use async_trait::async_trait;
/// # use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError};
/// use std::error::Error;
/// use std::time::Duration;
/// use flagcache_providers::registry::{OpenProvider, StoreUrl};
/// use flagcache_providers::ProviderRegistry;
///
/// # struct EtcdProvider { host: String, prefix: String, ttl: Duration }
/// # #[async_trait]
/// # impl FlagDefinitionCacheProvider for EtcdProvider {
/// #     async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> { Ok(true) }
/// #     async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> { Ok(None) }
/// #     async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) -> Result<(), ProviderError> { Ok(()) }
/// # }
/// impl OpenProvider for EtcdProvider {
///     const OPTIONS: &'static [&'static str] = &["prefix", "ttl"];
///
///     fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>> {
///         Ok(Self {
///             host: url.host().unwrap_or("127.0.0.1").to_owned(),
///             prefix: url.required("prefix")?.to_owned(),
///             ttl: url.duration("ttl")?.unwrap_or(Duration::from_secs(10)),
///         })
///     }
/// }
///
/// let registry = ProviderRegistry::default().register::<EtcdProvider>("etcd")?;
/// registry.open("etcd://10.0.0.7?prefix=/flags/checkout&ttl=5s")?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
pub trait OpenProvider: FlagDefinitionCacheProvider + Sized {
    /// The names of the options that may follow the question mark. Any other is rejected before [`open`](Self::open) is
    /// called.
    const OPTIONS: &'static [&'static str];

    /// A provider for one poller. Should not connect: the store may be down when a worker starts.
    ///
    /// # Errors
    ///
    /// If the URL is invalid. Never include a part of the URL in the message: it may be a password.
    fn open(url: &StoreUrl) -> Result<Self, Box<dyn Error + Send + Sync>>;
}
