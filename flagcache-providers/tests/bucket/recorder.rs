//! An object store in memory that records its requests, versions as Google does, and fails as wanted.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flagcache_providers::{BucketStore, BucketStoreBuilder};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

use crate::worker::SERVICE;

/// A request as the store is billed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// With `If-None-Match`; whether that was answered with 304, without the value.
    ConditionalGet {
        key: String,
        unchanged: bool,
    },
    Get {
        key: String,
    },
    Put {
        key: String,
    },
}

/// What happens to the next put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// It is stored, its answer is lost, and the client sends it again: the condition does not hold any more.
    AnsweredToTheSecondAttempt,
    /// It is stored, and then the connection breaks.
    AnswerLost,
    /// It is stored, and then nothing is answered.
    Hangs,
}

/// How the store names a state of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Versions {
    /// An ETag that no other state has.
    #[default]
    Unique,
    /// An ETag that is a hash of the value, as of S3.
    Hash,
    /// A generation, which alone is a condition of a write, and an ETag that is a hash of the value, as of Google.
    Generation,
    /// None at all.
    None,
    /// Unique ones, but the condition of a put is ignored.
    Ignored,
}

#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Default)]
struct Inner {
    objects: InMemory,
    versions: Versions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    put_fault: Option<(u32, PutFault)>,
    failure: Option<fn() -> Error>,
    /// What the store calls itself.
    name: Option<&'static str>,
}

impl Recorder {
    pub(crate) fn with_versions(versions: Versions) -> Self {
        Self(Arc::new(Inner {
            versions,
            ..Inner::default()
        }))
    }

    pub(crate) fn store(&self) -> BucketStoreBuilder {
        BucketStore::over(Arc::new(self.clone()), SERVICE)
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.state.lock().unwrap().requests)
    }

    /// After `puts` more, something happens to one.
    pub(crate) fn fails_a_put(&self, puts: u32, fault: PutFault) {
        self.0.state.lock().unwrap().put_fault = Some((puts, fault));
    }

    pub(crate) fn has_failed_a_put(&self) -> bool {
        self.0.state.lock().unwrap().put_fault.is_none()
    }

    /// Every request fails, or none.
    pub(crate) fn set_failure(&self, failure: Option<fn() -> Error>) {
        self.0.state.lock().unwrap().failure = failure;
    }

    pub(crate) fn set_name(&self, name: &'static str) {
        self.0.state.lock().unwrap().name = Some(name);
    }

    fn record(&self, request: Request) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        state.requests.push(request);
        state.failure.map_or(Ok(()), |failure| Err(failure()))
    }

    fn put_fault(&self) -> Option<PutFault> {
        let mut state = self.0.state.lock().unwrap();
        match &mut state.put_fault {
            Some((0, fault)) => {
                let fault = *fault;
                state.put_fault = None;
                Some(fault)
            }
            Some((puts, _)) => {
                *puts -= 1;
                None
            }
            None => None,
        }
    }

    /// The ETag and the version that the store shows of an object whose ETag in memory is `generation`.
    fn shown(&self, generation: Option<String>, value: &[u8]) -> (Option<String>, Option<String>) {
        let hash = || Some(format!("\"{:x}\"", xxhash_rust::xxh3::xxh3_64(value)));
        match self.0.versions {
            Versions::Unique | Versions::Ignored => (generation, None),
            Versions::Hash => (hash(), None),
            Versions::Generation => (hash(), generation),
            Versions::None => (None, None),
        }
    }

    /// The object as read from memory, with what the store shows of its version.
    async fn show(&self, found: GetResult) -> Result<GetResult> {
        let (mut meta, range) = (found.meta.clone(), found.range.clone());
        let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
        let value = found.bytes().await?;
        (meta.e_tag, meta.version) = self.shown(meta.e_tag, &value);
        let payload = stream::once(async { Ok(value) }).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes,
            extensions,
        })
    }
}

#[async_trait]
impl ObjectStore for Recorder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        self.record(Request::Put { key: key(location) })?;
        tokio::task::yield_now().await;
        let value: bytes::Bytes = payload.clone().into();
        if let PutMode::Update(expected) = &mut options.mode {
            match self.0.versions {
                Versions::Unique | Versions::None => {}
                Versions::Ignored => options.mode = PutMode::Overwrite,
                Versions::Hash => {
                    // The present object's generation, if its hash is the expected one.
                    let present = self
                        .0
                        .objects
                        .get_opts(location, GetOptions::default())
                        .await?;
                    let generation = present.meta.e_tag.clone();
                    let (hash, _) = self.shown(None, &present.bytes().await?);
                    expected.e_tag = if hash == expected.e_tag {
                        generation
                    } else {
                        Some("\"another\"".to_owned())
                    };
                }
                Versions::Generation => expected.e_tag = expected.version.take(),
            }
        }
        let is_probe = location.filename() == Some("probe");
        let fault = if is_probe { None } else { self.put_fault() };
        let written = self
            .0
            .objects
            .put_opts(location, payload.clone(), options.clone())
            .await?;
        match fault {
            None => {
                let (e_tag, version) = self.shown(written.e_tag, &value);
                Ok(PutResult {
                    e_tag,
                    version,
                    extensions: written.extensions,
                })
            }
            Some(PutFault::AnsweredToTheSecondAttempt) => {
                self.0.objects.put_opts(location, payload, options).await
            }
            Some(PutFault::AnswerLost) => Err(broken()),
            Some(PutFault::Hangs) => std::future::pending().await,
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let known = options.if_none_match;
        let found = match self
            .0
            .objects
            .get_opts(location, GetOptions::default())
            .await
        {
            Ok(found) => Ok(self.show(found).await?),
            Err(error) => Err(error),
        };
        let present = found
            .as_ref()
            .ok()
            .and_then(|found| found.meta.e_tag.clone());
        let key = key(location);
        let Some(known) = known else {
            self.record(Request::Get { key })?;
            return found;
        };
        let unchanged = present.as_ref() == Some(&known);
        self.record(Request::ConditionalGet { key, unchanged })?;
        if unchanged {
            return Err(Error::NotModified {
                path: location.to_string(),
                source: "304".into(),
            });
        }
        found
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        panic!("a copy is one put")
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.objects.delete_stream(locations)
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        panic!("nothing is listed")
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        panic!("nothing is listed")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("nothing is copied")
    }
}

/// The last part, which is all that differs.
fn key(location: &Path) -> String {
    location.filename().unwrap_or_default().to_owned()
}

pub(crate) fn broken() -> Error {
    Error::Generic {
        store: "memory",
        source: "the connection broke".into(),
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.state.lock().unwrap().name.unwrap_or("Recorder"))
    }
}
