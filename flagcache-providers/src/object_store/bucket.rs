//! [`Bucket`]: a versioned store in a bucket. Its compare-and-swap is a conditional put.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{Expected, ProviderError, ReadIfChanged, Version};
use flagcache_derive::flag_cache_store;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, PutMode, PutOptions, UpdateVersion,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::error::{failed, is_missing_bucket, timed_out, without_version};

/// Twice the default maximum of an API body, so that another program's object does not fill the memory of all workers.
const MAX_OBJECT_BYTES: u64 = 128 * 1024 * 1024;

/// Stores each key of each service as one object below a prefix.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    pub(super) endpoint: String,
    pub(super) response_timeout: Duration,
    /// Set when this process has verified that the server does not ignore conditions.
    pub(super) is_conditional: OnceCell<()>,
}

#[flag_cache_store(crate = flagcache_core)]
impl Bucket {
    async fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, ProviderError> {
        let value = self.within_timeout(self.get(key, None)).await?;
        self.explain(value)
    }

    async fn read_if_changed(
        &self,
        key: &str,
        known: &Version,
    ) -> Result<ReadIfChanged, ProviderError> {
        let known = from_version(known);
        if known.e_tag.is_none() {
            return self.read(key).await.map(ReadIfChanged::Changed);
        }
        match self.within_timeout(self.get(key, known.e_tag)).await? {
            Err(Error::NotModified { .. }) => Ok(ReadIfChanged::Unchanged),
            value => self.explain(value).map(ReadIfChanged::Changed),
        }
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
    ) -> Result<Option<Version>, ProviderError> {
        let mode = match &expected {
            Expected::Absent => PutMode::Create,
            Expected::Version(version) => PutMode::Update(from_version(version)),
        };
        let options = PutOptions {
            mode,
            attributes: Attributes::from_iter([
                (Attribute::ContentType, "application/json"),
                // Otherwise a cache may serve an outdated version of a public object.
                (Attribute::CacheControl, "no-store"),
            ]),
            ..PutOptions::default()
        };
        let path = self.path(key);
        let put = async {
            self.is_conditional
                .get_or_try_init(|| self.check_conditions(key))
                .await?;
            self.store.put_opts(&path, value.into(), options).await
        };
        match self.within_timeout(put).await? {
            Ok(written) => to_version(written.e_tag, written.version)
                .map(Some)
                .ok_or_else(|| without_version(&self.endpoint)),
            // Another write came first, or the answer to this one was lost and the client repeated it. In the second
            // case the caller finds its own value under the key.
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(None),
            // The object was deleted in the meantime.
            Err(error @ Error::NotFound { .. }) if !is_missing_bucket(&error) => Ok(None),
            Err(error) => Err(failed(&self.endpoint, error)),
        }
    }
}

impl Bucket {
    /// Reads an object. Fails with `NotModified` if its ETag is `if_none_match`.
    async fn get(
        &self,
        key: &str,
        if_none_match: Option<String>,
    ) -> Result<Option<(Bytes, Option<Version>)>, Error> {
        let options = GetOptions {
            if_none_match,
            ..GetOptions::default()
        };
        let found = match self.store.get_opts(&self.path(key), options).await {
            Err(error @ Error::NotFound { .. }) if !is_missing_bucket(&error) => return Ok(None),
            found => found?,
        };
        if found.meta.size > MAX_OBJECT_BYTES {
            return Err(Error::Generic {
                store: "object store",
                source: format!(
                    "the object has {} bytes, more than the maximum of {MAX_OBJECT_BYTES}; another program wrote it",
                    found.meta.size
                )
                .into(),
            });
        }
        let version = to_version(found.meta.e_tag.clone(), found.meta.version.clone());
        Ok(Some((found.bytes().await?, version)))
    }

    /// Fails if the server ignores the condition of a put, as some S3-compatible servers do: any worker could then
    /// overwrite newer data without an error.
    async fn check_conditions(&self, key: &str) -> Result<(), Error> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        // No object has this version.
        let never = UpdateVersion {
            e_tag: Some("\"0\"".to_owned()),
            version: Some("1".to_owned()),
        };
        let path = self.path(&format!("{folder}/{PROBE}"));
        let options = PutOptions::from(PutMode::Update(never));
        match self.store.put_opts(&path, "{}".into(), options).await {
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(()),
            Err(error @ Error::NotFound { .. }) if !is_missing_bucket(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::NotImplemented {
                operation: "put with If-Match (the server ignored the condition)".to_owned(),
                implementer: self.endpoint.clone(),
            }),
        }
    }

    /// Converts the result of [`get`](Self::get): requires a version, and describes an error.
    fn explain(
        &self,
        value: Result<Option<(Bytes, Option<Version>)>, Error>,
    ) -> Result<Option<(Bytes, Version)>, ProviderError> {
        match value {
            Ok(None) => Ok(None),
            Ok(Some((bytes, Some(version)))) => Ok(Some((bytes, version))),
            Ok(Some((_, None))) => Err(without_version(&self.endpoint)),
            Err(error) => Err(failed(&self.endpoint, error)),
        }
    }

    /// Applies the response timeout to one call, including credentials, retries and the pauses between them.
    async fn within_timeout<T>(&self, call: impl Future<Output = T>) -> Result<T, ProviderError> {
        timeout(self.response_timeout, call)
            .await
            .map_err(|_| timed_out(&self.endpoint, self.response_timeout))
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }
}

/// Joins the version or generation, if the store has one, and the ETag: Google's conditional writes use the generation.
fn to_version(e_tag: Option<String>, version: Option<String>) -> Option<Version> {
    // S3 returns `null` in some answers if the bucket has no versioning.
    let version = version.filter(|version| version != "null");
    match (version, e_tag) {
        (None, None) => None,
        (version, e_tag) => Some(Version::from(format!(
            "{}{SEPARATOR}{}",
            version.unwrap_or_default(),
            e_tag.unwrap_or_default()
        ))),
    }
}

/// The name of the object with which [`check_conditions`](Bucket::check_conditions) tests the server. Only a server
/// that ignores conditions creates it.
const PROBE: &str = "probe";

/// Separates the version and the ETag. Neither contains a line end, because both come from HTTP headers.
const SEPARATOR: char = '\n';

fn from_version(version: &Version) -> UpdateVersion {
    let (version, e_tag) = version.as_str().split_once(SEPARATOR).unwrap_or_default();
    let text = |part: &str| (!part.is_empty()).then(|| part.to_owned());
    UpdateVersion {
        e_tag: text(e_tag),
        version: text(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_back() {
        let text = |text: &str| Some(text.to_owned());
        for (e_tag, version) in [
            (text("\"5f\""), None),
            (text("\"5f\""), text("1700000000000001")),
            (None, text("7")),
        ] {
            let there = to_version(e_tag.clone(), version.clone()).unwrap();
            let back = from_version(&there);
            assert_eq!((back.e_tag, back.version), (e_tag, version));
        }
        assert_eq!(to_version(None, None), None);
        let suspended = to_version(text("\"5f\""), text("null"));
        assert_eq!(suspended, to_version(text("\"5f\""), None));
    }
}
