//! The bucket: compare-and-swap by conditional requests.

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

/// The keys and values of all services, one object each, below one prefix.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    pub(super) endpoint: String,
    pub(super) response_timeout: Duration,
    /// Set once the server was seen to honour conditions.
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
                // A public object may otherwise be served by a cache, and be old.
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
            // Another write was first. Or it was this one: its answer was lost and the client sent it again. Then the caller
            // finds its own value under the key.
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(None),
            // Deleted meanwhile.
            Err(error @ Error::NotFound { .. }) if !is_missing_bucket(&error) => Ok(None),
            Err(error) => Err(failed(&self.endpoint, error)),
        }
    }
}

impl Bucket {
    /// The object, unless it has this ETag.
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
        let version = to_version(found.meta.e_tag.clone(), found.meta.version.clone());
        Ok(Some((found.bytes().await?, version)))
    }

    /// Fails if the server ignores the condition of a put. Some that speak S3's protocol do, and would let any worker overwrite
    /// anything without an error.
    async fn check_conditions(&self, key: &str) -> Result<(), Error> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        // No state of any object.
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
                operation: "a put with If-Match, whose condition was ignored,".to_owned(),
                implementer: self.endpoint.clone(),
            }),
        }
    }

    /// What was read, with its version, or what went wrong.
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

    /// Limits one call with all that the client does in it: credentials, attempts and pauses between them.
    async fn within_timeout<T>(&self, call: impl Future<Output = T>) -> Result<T, ProviderError> {
        timeout(self.response_timeout, call)
            .await
            .map_err(|_| timed_out(&self.endpoint, self.response_timeout))
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }
}

/// An ETag, and before it the version or generation if the store has them: Google's writes name the generation.
fn to_version(e_tag: Option<String>, version: Option<String>) -> Option<Version> {
    // The only version in a bucket without versions, which S3 names in some answers and not in others.
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

/// What is written only by a server that ignores conditions.
const PROBE: &str = "probe";

/// Can be in neither, since both come from HTTP headers.
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
