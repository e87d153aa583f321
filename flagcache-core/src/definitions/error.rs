//! [`DataError`]: why bytes are not valid flag definitions.

use std::error::Error;
use std::fmt;

use crate::{ProviderError, ProviderErrorKind};

/// The kind of defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataErrorKind {
    /// Not JSON, not UTF-8, or truncated.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// The object has no member `flags`.
    FlagsMissing,
    /// `flags` is not a list; `null` is not one either.
    FlagsNotAList,
    /// A flag is not an object, or has no string `key`.
    BadFlag,
    /// `group_type_mapping` or `cohorts` is neither an object nor `null`.
    BadMember,
    /// The copy was stored by a newer release, in a schema that this one does not know.
    NewerSchema,
    /// The copy holds what another feed of the API serves, which this release does not ask for.
    OtherFeed,
    /// 4 GiB or more.
    TooLarge,
    /// Not decoded, because the runtime is shutting down.
    Interrupted,
}

impl DataErrorKind {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::FlagsMissing => "flags_missing",
            Self::FlagsNotAList => "flags_not_a_list",
            Self::BadFlag => "bad_flag",
            Self::BadMember => "bad_member",
            Self::NewerSchema => "newer_schema",
            Self::OtherFeed => "other_feed",
            Self::TooLarge => "too_large",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for DataErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not valid flag definitions. Shows the position, never the content.
///
/// ```
/// use flagcache_core::{DataErrorKind, FlagDefinitionCacheData};
///
/// let error = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"a"},{"key":7}]}"#).unwrap_err();
/// assert_eq!(error.kind(), DataErrorKind::BadFlag);
/// assert_eq!(error.to_string(), "flags[1]: `key` is not a string");
/// ```
#[derive(Debug)]
pub struct DataError {
    kind: DataErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DataError {
    pub(crate) fn new(kind: DataErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of defect.
    pub fn kind(&self) -> DataErrorKind {
        self.kind
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for DataError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Lets a provider decode its copy with `?`.
impl From<DataError> for ProviderError {
    fn from(error: DataError) -> Self {
        match error.kind {
            DataErrorKind::Interrupted => Self::new(
                ProviderErrorKind::Unavailable,
                "the stored copy was not read",
            )
            .with_source(error),
            _ => Self::new(
                ProviderErrorKind::InvalidData,
                "the stored copy is not valid flag definitions",
            )
            .with_source(error),
        }
    }
}
