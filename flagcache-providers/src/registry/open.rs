//! [`OpenProvider`]: the configuration of a provider, read from a URL.

use std::error::Error;

use flagcache_core::FlagDefinitionCacheProvider;

use super::{StoreUrl, UrlOption};

/// The result of opening a URL.
pub type Opened = Result<Box<dyn FlagDefinitionCacheProvider>, Box<dyn Error + Send + Sync>>;

/// The configuration of a provider, read from a URL.
///
/// Derive it with `#[derive(OpenProvider)]` of flagcache: the fields of a struct become the options, and its method
/// `open` makes the provider. A manual implementation:
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use async_trait::async_trait;
/// # use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError};
/// use std::time::Duration;
/// use flagcache_providers::registry::{OpenProvider, Opened, StoreUrl, UrlOption};
/// use flagcache_providers::ProviderRegistry;
///
/// # struct EtcdProvider { host: String, prefix: String, ttl: Duration }
/// # #[async_trait]
/// # impl FlagDefinitionCacheProvider for EtcdProvider {
/// #     async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> { Ok(true) }
/// #     async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> { Ok(None) }
/// #     async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) -> Result<(), ProviderError> { Ok(()) }
/// # }
/// struct EtcdUrl;
///
/// impl OpenProvider for EtcdUrl {
///     const SCHEMES: &'static [&'static str] = &["etcd"];
///     const OPTIONS: &'static [UrlOption] = &[
///         UrlOption::required("prefix", "The prefix of the keys."),
///         UrlOption::optional("ttl", "The duration of a lease.").with_default("10s"),
///     ];
///
///     fn provider_at(url: &StoreUrl) -> Opened {
///         Ok(Box::new(EtcdProvider {
///             host: url.host().unwrap_or("127.0.0.1").to_owned(),
///             prefix: url.required("prefix")?,
///             ttl: url.value("ttl")?.unwrap_or(Duration::from_secs(10)),
///         }))
///     }
/// }
///
/// let registry = ProviderRegistry::default().register::<EtcdUrl>()?;
/// registry.open("etcd://10.0.0.7?prefix=/flags/checkout&ttl=5s")?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be opened by a URL",
    note = "put `#[derive(OpenProvider)]` on a struct with the options of the URL as its fields, and register that struct"
)]
pub trait OpenProvider {
    /// The schemes of the URLs.
    const SCHEMES: &'static [&'static str];

    /// The options that may follow the question mark. Any other is rejected before [`provider_at`](Self::provider_at)
    /// is called.
    const OPTIONS: &'static [UrlOption];

    /// Returns a provider for one poller. Should not connect: the store may be down when a worker starts.
    ///
    /// # Errors
    ///
    /// If the URL is invalid. Never include a part of the URL in the message: it may be a password.
    fn provider_at(url: &StoreUrl) -> Opened;
}
