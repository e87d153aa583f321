//! Why a URL opens no store. Nothing here shows a URL: it may hold a password.

use std::error::Error;

use thiserror::Error;

/// Why a [`ProviderRegistry`](super::ProviderRegistry) gives no provider. All of them are mistakes in the configuration, or in
/// the program that registers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is no URL.
    #[error(
        "the store's URL cannot be read; write scheme:…, such as memory: or file:///folder?service=name"
    )]
    NotAUrl(#[source] Box<dyn Error + Send + Sync>),
    /// The URL is one, but not of the form that its scheme wants.
    #[error("this {scheme} URL cannot be used; {remedy}")]
    BadUrl {
        /// The URL's scheme.
        scheme: String,
        /// What to write.
        remedy: &'static str,
    },
    /// Nobody registered the scheme.
    #[error("there is no store for the scheme {scheme}; {known}")]
    UnknownScheme {
        /// The URL's scheme.
        scheme: String,
        /// The schemes that there are, and those that a feature would add.
        known: String,
    },
    /// The scheme is a bundled store's, and that was not compiled in.
    #[error(
        "the store for {scheme} URLs is not compiled in; build with the feature `{feature}` of flagcache"
    )]
    NotCompiledIn {
        /// The URL's scheme.
        scheme: String,
        /// The feature that adds it.
        feature: &'static str,
    },
    /// The store has no such option.
    #[error("a {scheme} URL has no option `{option}`; it has {known}")]
    UnknownOption {
        /// The URL's scheme.
        scheme: String,
        /// The name that was given.
        option: String,
        /// The names that there are.
        known: String,
    },
    /// An option is given twice.
    #[error("a {scheme} URL gives the option `{option}` more than once; give it once")]
    RepeatedOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: String,
    },
    /// An option that the store cannot do without is missing or empty.
    #[error("a {scheme} URL needs the option `{option}`; add {option}=… after the question mark")]
    MissingOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
    },
    /// An option's value cannot be read. The value is not shown.
    #[error("the option `{option}` of a {scheme} URL cannot be read; give {expected}")]
    BadOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// The store refused what the URL says.
    #[error("the store of the {scheme} URL cannot be set up: {source}")]
    Refused {
        /// The URL's scheme.
        scheme: String,
        /// The store's own error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The scheme is registered already.
    #[error("the scheme {0} is registered already; register each scheme once")]
    AlreadyRegistered(String),
    /// The scheme cannot stand in a URL.
    #[error(
        "{0:?} is no scheme of a URL; use lower-case letters, digits, `+`, `-` and `.`, a letter first"
    )]
    BadScheme(String),
}
