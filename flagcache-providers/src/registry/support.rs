//! Called by the code that `#[derive(OpenProvider)]` generates. Not part of the API: it may change in any release.

use std::error::Error;

use flagcache_core::FlagDefinitionCacheProvider;

pub use super::{OpenProvider, Opened, OptionValue, RegistryError, StoreUrl, UrlOption};

/// Rejects unknown options.
pub fn known_options<C: OpenProvider>(url: &StoreUrl) -> Result<(), RegistryError> {
    url.refuse_other_options(&options::<C>(url.scheme()))
}

/// The options of one scheme.
pub(super) fn options<C: OpenProvider>(scheme: &str) -> Vec<UrlOption> {
    let options = C::OPTIONS.iter().copied();
    options.filter(|it| it.belongs_to(scheme)).collect()
}

/// The URL itself.
pub fn url(url: &StoreUrl) -> StoreUrl {
    url.clone()
}

/// The value of a required option.
pub fn required<T: OptionValue>(url: &StoreUrl, name: &'static str) -> Result<T, RegistryError> {
    url.required(name)
}

/// The value of an optional option.
pub fn optional<T: OptionValue>(
    url: &StoreUrl,
    name: &'static str,
) -> Result<Option<T>, RegistryError> {
    url.value(name)
}

/// The value of an option, or else its default.
pub fn with_default<T: OptionValue>(
    url: &StoreUrl,
    name: &'static str,
    default: &'static str,
) -> Result<T, RegistryError> {
    match url.value(name)? {
        Some(value) => Ok(value),
        None => url.parse_option(name, default),
    }
}

/// The result of the author's `open`.
#[diagnostic::on_unimplemented(
    message = "`open` returns `{Self}`, but must return a `Result` of the provider",
    label = "the `open` of this type",
    note = "write `fn open(self) -> Result<TheProvider, TheError>`; it is no `async fn`, because opening does not connect: the \
            store may be down when a worker starts",
    note = "the provider implements `FlagDefinitionCacheProvider`; the error is `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait OpenOutcome {
    /// Converts it into the result of the trait's method.
    fn into_opened(self) -> Opened;
}

impl<P, E> OpenOutcome for Result<P, E>
where
    P: FlagDefinitionCacheProvider,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn into_opened(self) -> Opened {
        match self {
            Ok(provider) => Ok(Box::new(provider)),
            Err(error) => Err(error.into()),
        }
    }
}
