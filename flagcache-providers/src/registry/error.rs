//! [`RegistryError`]: the errors of opening a URL. They never show the URL, which may contain a password.

use std::error::Error;

use thiserror::Error;

/// An error of [`ProviderRegistry`](super::ProviderRegistry). All are errors in the configuration, or in the program
/// that registers schemes.
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
    #[error("{scheme} URLs have no option `{option}`; their options: {known}")]
    UnknownOption {
        /// The URL's scheme.
        scheme: String,
        /// The unknown name.
        option: String,
        /// The known names, and a similar one.
        known: String,
    },
    /// An option is repeated.
    #[error("the option `{option}` of this {scheme} URL is repeated; give it once")]
    RepeatedOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: String,
    },
    /// A required option is missing or empty.
    #[error("{scheme} URLs require the option `{option}`; add {option}=… after the question mark")]
    MissingOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
    },
    /// The value of an option is invalid. The value is not shown.
    #[error("the option `{option}` of this {scheme} URL is invalid; give {expected}")]
    BadOption {
        /// The URL's scheme.
        scheme: String,
        /// Its name.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// The store rejected the URL's options.
    #[error("the store of this {scheme} URL cannot be set up: {source}")]
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
        "{0:?} is not a valid URL scheme; use lower-case letters, digits, `+`, `-` and `.`, a letter first"
    )]
    BadScheme(String),
}
