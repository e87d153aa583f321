//! [`RegistryError`]: why a URL cannot be opened. Never shows the URL: it may contain a password.

use std::error::Error;

use thiserror::Error;

/// Why a [`ProviderRegistry`](super::ProviderRegistry) returns no provider. All are errors in the configuration, or in
/// the program that registers schemes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is not a URL.
    #[error(
        "the store's URL cannot be read; write scheme:…, such as memory: or file:///folder?service=name"
    )]
    NotAUrl(#[source] Box<dyn Error + Send + Sync>),
    /// The URL does not have the form that its scheme requires.
    #[error("this {scheme} URL cannot be used; {remedy}")]
    BadUrl {
        /// The URL's scheme.
        scheme: String,
        /// What to write.
        remedy: &'static str,
    },
    /// The scheme is not registered.
    #[error("there is no store for the scheme {scheme}; {known}")]
    UnknownScheme {
        /// The URL's scheme.
        scheme: String,
        /// The known schemes, those that a feature would add, and a similar one.
        known: String,
    },
    /// The scheme belongs to a bundled store that is not compiled in.
    #[error(
        "the store for {scheme} URLs is not compiled in; build with the feature `{feature}` of flagcache"
    )]
    NotCompiledIn {
        /// The URL's scheme.
        scheme: String,
        /// The feature that enables it.
        feature: &'static str,
    },
    /// The store has no such option.
    #[error("a {scheme} URL has no option `{option}`; it has {known}")]
    UnknownOption {
        /// The URL's scheme.
        scheme: String,
        /// The unknown name.
        option: String,
        /// The known names, and a similar one.
        known: String,
    },
    /// An option is repeated.
    #[error("a {scheme} URL gives the option `{option}` more than once; give it once")]
    RepeatedOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: String,
    },
    /// A required option is missing or empty.
    #[error("a {scheme} URL needs the option `{option}`; add {option}=… after the question mark")]
    MissingOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
    },
    /// The value of an option is invalid. The value is not shown.
    #[error("the option `{option}` of a {scheme} URL cannot be read; give {expected}")]
    BadOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// The store rejected the URL's options.
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
    /// The scheme is not valid in a URL.
    #[error(
        "{0:?} is no scheme of a URL; use lower-case letters, digits, `+`, `-` and `.`, a letter first"
    )]
    BadScheme(String),
}
