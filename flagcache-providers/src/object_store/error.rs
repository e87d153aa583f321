//! [`BucketConfigError`], and the provider errors of an object store.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use object_store::Error;
use thiserror::Error;

use crate::versioned::VersionedConfigError;

/// An error of [`BucketStoreBuilder::build`](super::BucketStoreBuilder::build).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BucketConfigError {
    /// The text is not a URL. The message does not show it, because it may contain a secret.
    #[error(
        "the URL of the bucket cannot be read; write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
    )]
    Url(#[source] url::ParseError),
    /// The URL does not have the form of a bucket URL. The message does not show it, because it may contain a secret.
    #[error(
        "the URL does not name a bucket; write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, and \
         the address of the server, if needed, in `?endpoint=`"
    )]
    Form,
    /// The address of the server cannot be used. The message does not show it, because it may contain a secret.
    #[error(
        "the endpoint cannot be used; write http://host:port or https://host:port, without a user or a password, in \
         `?endpoint=` or in the environment"
    )]
    Endpoint,
    /// This setting contains a line break or another control character. The message does not show the value, because it
    /// may be a secret.
    #[error(
        "the setting `{0}` contains a control character, often the line break at the end of a file; remove it from the \
         environment or the URL"
    )]
    ControlCharacter(&'static str),
    /// object_store has no configuration key of this name.
    #[error(
        "`{0}` is not a setting of this object store; see the configuration keys of its builder in the \
         object_store crate"
    )]
    Setting(String),
    /// The client of the object store cannot be built.
    #[error(
        "`{endpoint}` cannot be set up; check its settings and the credentials in the environment"
    )]
    Open {
        /// The bucket and the prefix.
        endpoint: String,
        /// The error of object_store.
        source: object_store::Error,
    },
    /// The store does not support conditional replacement of an object.
    #[error(
        "{0} does not support conditional replacement of an object; for files on one machine use `FileStore`"
    )]
    NoConditionalPuts(String),
    /// The response timeout is zero.
    #[error("the response timeout is zero, so every call would fail; set it to about 1 s")]
    ResponseTimeout,
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be read; give certificates in PEM")]
    RootCertificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service's name or the lease TTL is invalid.
    #[error(transparent)]
    Versioned(#[from] VersionedConfigError),
}

/// Describes a failure, the endpoint and the remedy. The error of object_store is the source.
pub(super) fn failed(endpoint: &str, error: Error) -> ProviderError {
    let (kind, remedy) = match &error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (
            ProviderErrorKind::PermissionDenied,
            "check the credentials, and allow them to read and write these objects; on S3 also s3:ListBucket, without \
             which a missing object looks like a forbidden one",
        ),
        Error::NotFound { .. } => (
            ProviderErrorKind::Other,
            "there is no such bucket or container; create it, or check its name and the endpoint",
        ),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => (
            ProviderErrorKind::Other,
            "it does not support conditional writes; use S3, Google Cloud Storage, Azure or a server that \
             supports If-Match",
        ),
        _ => (
            ProviderErrorKind::Unavailable,
            "check that it can be reached, and check its region, endpoint and credentials",
        ),
    };
    let message = format!("the object store at {endpoint} failed; {remedy}");
    ProviderError::new(kind, message).with_source(error)
}

/// Whether the bucket itself is missing, which must not count as a missing object. All three services name the bucket
/// in the body of the answer, as in `<Code>NoSuchBucket</Code>`; the name of a service may contain that word too.
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
        "the object store at {endpoint} returns no ETag or version, so conditional writes are impossible; use another"
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
