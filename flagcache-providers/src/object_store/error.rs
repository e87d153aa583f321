//! What goes wrong with an object store, and what to do about it.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use object_store::Error;
use thiserror::Error;

use crate::versioned::VersionedConfigError;

/// Why a [`BucketStoreBuilder`](super::BucketStoreBuilder) builds no store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BucketConfigError {
    /// The text is not a URL. It is not shown, because it may hold a secret.
    #[error(
        "the URL of the bucket cannot be read; write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
    )]
    Url(#[source] url::ParseError),
    /// The URL has another form than that of a bucket. It is not shown, because it may hold a secret.
    #[error(
        "the URL does not name a bucket; write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, with the \
         server's address, if needed, in `?endpoint=`"
    )]
    Form,
    /// The server's address cannot be used. It is not shown, because it may hold a secret.
    #[error(
        "the endpoint cannot be used; write http://host:port or https://host:port, without a user or a password, in \
         `?endpoint=` or in the environment"
    )]
    Endpoint,
    /// This setting has a line break or another control character. The value is not shown, because it may be a secret.
    #[error(
        "the setting `{0}` has a control character, often the line break at the end of a file; remove it from the environment \
         or the URL"
    )]
    ControlCharacter(&'static str),
    /// The store has no setting of this name.
    #[error(
        "`{0}` is not a setting of this object store; see the configuration keys of object_store's builder for it"
    )]
    Setting(String),
    /// The store cannot be set up.
    #[error(
        "`{endpoint}` cannot be set up; check its settings and the credentials in the environment"
    )]
    Open {
        /// The bucket and the prefix.
        endpoint: String,
        /// What object_store refuses.
        source: object_store::Error,
    },
    /// The store cannot replace an object on condition that it has not changed.
    #[error("{0} cannot replace an object on condition; for files on one machine use `FileStore`")]
    NoConditionalPuts(String),
    /// The time that an answer may take is zero.
    #[error("a response timeout of zero lets no call succeed; give 1 s or so")]
    ResponseTimeout,
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be read; give certificates in PEM")]
    RootCertificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service's name or the lease cannot be used.
    #[error(transparent)]
    Versioned(#[from] VersionedConfigError),
}

/// An error with what failed, where, and what to do. The store's own message is the source.
pub(super) fn failed(endpoint: &str, error: Error) -> ProviderError {
    let (kind, remedy) = match &error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (
            ProviderErrorKind::PermissionDenied,
            "check the credentials, and grant them reading and writing these objects; on S3 also s3:ListBucket, without \
             which a missing object looks like a forbidden one",
        ),
        Error::NotFound { .. } => (
            ProviderErrorKind::Other,
            "there is no such bucket or container; create it, or check its name and the endpoint",
        ),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => (
            ProviderErrorKind::Other,
            "it cannot write on condition; use S3, Google Cloud Storage, Azure or a server that takes If-Match",
        ),
        _ => (
            ProviderErrorKind::Unavailable,
            "check that it can be reached, and its region, endpoint and credentials",
        ),
    };
    let message = format!("the object store at {endpoint} failed; {remedy}");
    ProviderError::new(kind, message).with_source(error)
}

/// Whether the bucket itself is missing: that must not look like a missing object. All three name it in the answer's body,
/// `<Code>NoSuchBucket</Code>`; a service may have that name too.
pub(super) fn is_missing_bucket(error: &Error) -> bool {
    let text = error.to_string();
    [">NoSuchBucket<", ">ContainerNotFound<"]
        .iter()
        .any(|code| text.contains(code))
}

pub(super) fn timed_out(endpoint: &str, timeout: Duration) -> ProviderError {
    let message = format!("the object store at {endpoint} did not answer within {timeout:?}");
    ProviderError::new(ProviderErrorKind::Timeout, message)
}

pub(super) fn without_version(endpoint: &str) -> ProviderError {
    let message = format!(
        "the object store at {endpoint} gives no ETag or version, so nothing can be written on condition; use another"
    );
    ProviderError::new(ProviderErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_named_like_the_code_is_no_missing_bucket() {
        let not_found = |answer: &str| Error::NotFound {
            path: "posthog/flags/NoSuchBucket/head".to_owned(),
            source: answer.to_owned().into(),
        };
        assert!(!is_missing_bucket(&not_found("<Code>NoSuchKey</Code>")));
        assert!(is_missing_bucket(&not_found("<Code>NoSuchBucket</Code>")));
        assert!(is_missing_bucket(&not_found(
            "<Code>ContainerNotFound</Code>"
        )));
    }
}
