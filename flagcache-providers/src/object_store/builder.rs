//! [`BucketStoreBuilder`]: configures an object store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;

use super::bucket::Bucket;
use super::cloud::{self, Cloud};
use super::http::{Connector, certificates};
use super::{BucketConfigError, BucketStore};
use crate::Versioned;

/// Configures a [`BucketStore`]; returned by [`BucketStore::builder`] and [`BucketStore::over`].
#[derive(Clone)]
pub struct BucketStoreBuilder {
    target: Target,
    service: String,
    response_timeout: Duration,
    lease_ttl: Duration,
    root_certificates: Option<Vec<u8>>,
}

#[derive(Clone)]
enum Target {
    Url(String),
    Store(Arc<dyn ObjectStore>),
}

impl BucketStoreBuilder {
    pub(super) fn by_url(url: String, service: String) -> Self {
        Self::new(Target::Url(url), service)
    }

    pub(super) fn over(store: Arc<dyn ObjectStore>, service: String) -> Self {
        Self::new(Target::Store(store), service)
    }

    fn new(target: Target, service: String) -> Self {
        Self {
            target,
            service,
            response_timeout: Duration::from_secs(1),
            lease_ttl: BucketStore::DEFAULT_LEASE_TTL,
            root_certificates: None,
        }
    }

    /// The timeout of one request, including credentials, connecting and up to two retries; default 1 s. A call of the
    /// provider makes up to three requests, so increase the poller's provider timeout accordingly.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// The TTL of the lease: the time within which a killed leader is replaced; default 60 s. A shorter TTL costs more
    /// requests; see the [costs](crate::object_store#costs).
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Root certificates in PEM, trusted in addition to those of the system. Applies only to a store with a URL.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Builds the store. Does not connect.
    ///
    /// # Errors
    /// If the URL, its options, the service, a duration or the certificates are invalid, or the store does not support
    /// conditional writes.
    pub fn build(self) -> Result<BucketStore, BucketConfigError> {
        if self.response_timeout.is_zero() {
            return Err(BucketConfigError::ResponseTimeout);
        }
        let roots = self.root_certificates.as_deref().map(certificates);
        let connector = Connector {
            roots: roots.transpose()?.unwrap_or_default(),
            connect_timeout: self.response_timeout,
        };
        let Cloud {
            store,
            prefix,
            endpoint,
        } = match self.target {
            Target::Url(url) => cloud::open(&url, connector, self.response_timeout)?,
            Target::Store(store) => Cloud {
                endpoint: store.to_string(),
                prefix: Path::default(),
                store,
            },
        };
        // A local file can be created, but not replaced, conditionally: all writes after the first would fail.
        if endpoint.contains("LocalFileSystem") {
            return Err(BucketConfigError::NoConditionalPuts(endpoint));
        }
        let bucket = Bucket {
            store,
            prefix,
            endpoint: endpoint.clone(),
            response_timeout: self.response_timeout,
            is_conditional: OnceCell::new(),
        };
        let versioned = Versioned::new(bucket, self.service)?.with_lease_ttl(self.lease_ttl)?;
        Ok(BucketStore::new(versioned, endpoint))
    }
}

/// Does not show the URL, which may contain a secret.
impl fmt::Debug for BucketStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStoreBuilder")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_and_no_secret_shown() {
        let builder = |url: &str| BucketStoreBuilder::by_url(url.to_owned(), "checkout".to_owned());
        let url = "s3://flags/eu?region=eu-west-1&access_key_id=hunter2&secret_access_key=hunter2";
        let store = builder(url).build().unwrap();
        assert_eq!(store.endpoint(), "s3://flags/eu");
        assert!(!format!("{store:?} {:?}", builder(url)).contains("hunter2"));
        for refused in [
            "flags?token=hunter2",
            "s3:flags?token=hunter2",
            "s3:///flags?token=hunter2",
            "https://flags?token=hunter2",
            "s3://hunter2:hunter2@flags",
            "s3://flags:9000?token=hunter2",
            "s3://flags?secret=hunter2",
            "az://flags?account_name=flags&account_key=hunter2",
            "s3://flags?endpoint=http://user:hunter2@127.0.0.1:9000",
            "s3://flags?endpoint=http://user:hunter2@127.0.0.1:x",
            "s3://flags?aws_endpoint=http://user:hunter2@127.0.0.1:9000",
            "s3://flags?endpoint=hunter2:9000",
            "s3://flags?endpoint=",
            "s3://flags?access_key_id=app%0a&secret_access_key=hunter2",
            "s3://flags?access_key_id=app&secret_access_key=hunter2%0a",
            "s3://flags?region=eu%0a&access_key_id=app&secret_access_key=hunter2",
            "az://flags?account_name=flags%0a&account_key=aGk=",
            "az://flags?endpoint=http://user:hunter2@127.0.0.1:9000&account_name=flags&account_key=aGk=",
            "gs://flags?endpoint=http://user:hunter2@127.0.0.1:9000&bearer_token=hunter2",
        ] {
            let error = builder(refused).build().unwrap_err();
            let chain = format!("{error:?} {error}");
            assert!(!chain.contains("hunter2"), "{chain}");
        }
        assert!(
            builder(url)
                .response_timeout(Duration::ZERO)
                .build()
                .is_err()
        );
        assert!(builder(url).lease_ttl(Duration::ZERO).build().is_err());
        assert!(builder(url).root_certificates("none").build().is_err());
    }
}
