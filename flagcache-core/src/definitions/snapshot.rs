//! One immutable set of flag definitions.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, MapAccess};

use crate::definitions::fingerprint::{ContentFingerprint, CopyId};
use crate::definitions::index::{self, Set};
use crate::definitions::scan::{self, FlagEntry, MAX_LEN, Member};
use crate::definitions::stored_form::{self, Metadata, Opened};
use crate::{DataError, DataErrorKind, Flag, ProjectFingerprint, RawJson};

/// How much of a stored copy identifies it: its first 400 bytes hold the fingerprints of its content and of its
/// metadata, whatever their size.
pub const HEAD_LEN: usize = 400;

/// Up to this size [`decode`](FlagDefinitionCacheData::decode) works on the spot: it takes about a millisecond.
const INLINE_LEN: usize = 256 * 1024;

/// One immutable set of flag definitions, with the ETag, the time and the project that it was fetched with.
///
/// It keeps the JSON that the API sent, byte for byte, and an index of it: unknown members and numbers of any size
/// survive. A clone shares everything.
///
/// [`to_json`](Self::to_json) and [`from_json`](Self::from_json) are the *stored form*, which the PostHog SDKs read too:
/// the API's own object, preceded by a member `_flagcache` with the metadata, and followed by the camelCase spelling of
/// the members that some SDKs know under that name.
///
/// ```
/// use flagcache_core::FlagDefinitionCacheData;
///
/// let set = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"new-checkout","active":true}]}"#)?;
/// let flag = set.flag("new-checkout").ok_or("no such flag")?;
/// assert_eq!(flag.json(), r#"{"key":"new-checkout","active":true}"#);
/// assert_eq!(FlagDefinitionCacheData::from_json(set.to_json())?, set);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Serialize` and `Deserialize` carry the stored form through plain serde_json, as a field of a struct too. They do not
/// work through `#[serde(flatten)]`, tagged enums, YAML or binary formats: use `to_json` and `from_json` there.
#[derive(Clone)]
pub struct FlagDefinitionCacheData {
    described: Arc<Described>,
}

/// What a handle points to. The alignment keeps its counter on cache lines of its own; see
/// [`another_handle`](FlagDefinitionCacheData::another_handle).
#[derive(Clone)]
#[repr(align(128))]
struct Described {
    set: Arc<Set>,
    metadata: Metadata,
    /// The set's buffer is the stored form with this metadata.
    is_stored_form: bool,
}

/// Taking in and giving out.
impl FlagDefinitionCacheData {
    /// Reads a stored copy, another SDK's copy, or an API body. The buffer is taken over, without a copy if this is its
    /// only handle.
    ///
    /// A copy that does not match its own fingerprints (edited by hand, or reordered by a document store) keeps its
    /// definitions and loses its metadata. What other languages and document stores cannot write as the API does is put
    /// right: a list in the place of `group_type_mapping` or `cohorts` becomes a mapping (PHP's `[]` the empty one), and
    /// a `property_matching_version` of `2.0` becomes `2`.
    ///
    /// # Errors
    /// If the bytes hold no set, or one of a newer schema or of another feed; see [`DataErrorKind`].
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, DataError> {
        let text = text(json.into())?;
        let scan = scan::scan(&text)?;
        match stored_form::open(&text, scan)? {
            Opened::Plain(scan) => Ok(Self::new(set_of(text, scan)?, Metadata::default(), false)),
            Opened::Stored(scan, metadata) => match index::canonical(&text, &scan.members) {
                Some(canonical) => Ok(Self::new(rescanned(canonical)?, metadata, false)),
                None => Ok(Self::new(Set::new(text, scan)?, metadata, true)),
            },
            Opened::Foreign(scan) => Ok(Self::new(
                stripped(&text, &scan)?,
                Metadata::default(),
                false,
            )),
        }
    }

    /// Takes in the body of a 200. An empty ETag is none; any other is kept byte for byte. A `_flagcache` member in the
    /// body is dropped.
    ///
    /// # Errors
    /// If the body holds no set; see [`DataErrorKind`].
    pub fn from_api_response(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Result<Self, DataError> {
        let text = text(body.into())?;
        let scan = scan::scan(&text)?;
        let set = if stored_form::has_envelope(&text, &scan) {
            stripped(&text, &scan)?
        } else {
            set_of(text, scan)?
        };
        Ok(Self::new(
            set,
            Metadata::new(etag, fetched_at, project),
            false,
        ))
    }

    /// [`from_json`](Self::from_json) for async code: a large copy (more than 256 KiB) is read on tokio's blocking pool,
    /// so that it never holds up the caller's runtime thread. Without a runtime it is read on the spot.
    ///
    /// Cancel safe; a dropped call finishes in the background and its result is thrown away.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json); [`DataErrorKind::Interrupted`] if the runtime is shutting down.
    pub async fn decode(json: impl Into<Bytes>) -> Result<Self, DataError> {
        let json = json.into();
        off_thread(json.len(), move || Self::from_json(json)).await
    }

    /// [`from_api_response`](Self::from_api_response) for async code, in the manner of [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`from_api_response`](Self::from_api_response); [`DataErrorKind::Interrupted`] if the runtime is shutting down.
    pub async fn decode_api_response(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Result<Self, DataError> {
        let body = body.into();
        let etag = etag.map(str::to_owned);
        off_thread(body.len(), move || {
            Self::from_api_response(body, etag.as_deref(), fetched_at, project)
        })
        .await
    }

    /// The stored form. A set that was read from it gives its own buffer; any other is written in one allocation.
    pub fn to_json(&self) -> Bytes {
        if self.described.is_stored_form {
            return self.buffer();
        }
        let raw = self.described.set.raw();
        let [head, tail] = stored_form::around(&self.described.set, &self.described.metadata);
        Bytes::from([head.as_str(), raw, tail.as_str()].concat())
    }

    /// The first [`HEAD_LEN`] bytes of the stored form, without the cost of the rest. Two stored copies are the same if
    /// their heads are equal, so a store need not read a body to see that it is the one at hand.
    pub fn head(&self) -> Bytes {
        if self.described.is_stored_form {
            let buffer = self.described.set.text().as_bytes();
            return Bytes::copy_from_slice(&buffer[..buffer.len().min(HEAD_LEN)]);
        }
        let raw = self.described.set.raw().as_bytes();
        let [head, tail] = stored_form::around(&self.described.set, &self.described.metadata);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&raw[..raw.len().min(HEAD_LEN)]);
        bytes.extend_from_slice(tail.as_bytes());
        bytes.truncate(HEAD_LEN);
        Bytes::from(bytes)
    }

    /// The set as the API sent it, without envelope and aliases. Allocates for a set that was read from the stored form.
    pub fn raw_json(&self) -> Bytes {
        if self.described.set.is_plain() {
            return self.buffer();
        }
        Bytes::from(["{", self.described.set.raw(), "}"].concat())
    }

    fn new(set: Set, metadata: Metadata, is_stored_form: bool) -> Self {
        Self::of(Described {
            set: Arc::new(set),
            metadata,
            is_stored_form,
        })
    }

    fn of(described: Described) -> Self {
        Self {
            described: Arc::new(described),
        }
    }

    /// The same with a counter of its own. A clone counts up, and its end counts down, on the counter of the handle that
    /// was cloned; threads that do so all the time to one counter wait for each other.
    pub(crate) fn another_handle(&self) -> Self {
        Self::of(Described::clone(&self.described))
    }

    fn buffer(&self) -> Bytes {
        Bytes::from_owner(Buffer(Arc::clone(&self.described.set)))
    }
}

/// Where the set came from, and which one it is.
impl FlagDefinitionCacheData {
    /// The ETag that the API gave for exactly this content.
    pub fn etag(&self) -> Option<&str> {
        self.described.metadata.etag.as_deref()
    }

    /// When the API gave this content, to the millisecond.
    pub fn fetched_at(&self) -> Option<SystemTime> {
        self.described.metadata.fetched_at()
    }

    /// The project that the set belongs to.
    pub fn project(&self) -> Option<ProjectFingerprint> {
        self.described.metadata.project
    }

    /// The same set with another ETag, for a 304 that carries one. Shares the buffer. An empty ETag is none.
    #[must_use]
    pub fn with_etag(&self, etag: Option<&str>) -> Self {
        let metadata = self.described.metadata.clone().with_etag(etag);
        if metadata == self.described.metadata {
            return self.clone();
        }
        Self::of(Described {
            set: Arc::clone(&self.described.set),
            metadata,
            is_stored_form: false,
        })
    }

    /// The fingerprint of the content, without the metadata. Computed once, when the set was taken in.
    pub fn content_fingerprint(&self) -> ContentFingerprint {
        self.described.set.fingerprint()
    }

    /// The length of the definitions in bytes, without metadata.
    pub(crate) fn content_len(&self) -> usize {
        self.described.set.raw().len()
    }

    /// Whether both hold the same members, byte for byte, by length and fingerprint.
    pub fn same_content(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.described.set, &other.described.set)
            || (self.described.set.fingerprint() == other.described.set.fingerprint()
                && self.described.set.raw().len() == other.described.set.raw().len())
    }

    /// Names this copy: the content and the metadata.
    pub fn copy_id(&self) -> CopyId {
        let content = self.described.set.fingerprint();
        CopyId::new(content, self.described.metadata.check(content))
    }
}

/// Reading.
impl FlagDefinitionCacheData {
    /// How many flags the set lists.
    pub fn len(&self) -> usize {
        self.described.set.flags().len()
    }

    /// Whether the set lists no flag. Such a set is valid, and not the same as a missing one.
    pub fn is_empty(&self) -> bool {
        self.described.set.flags().is_empty()
    }

    /// The flag with this key: one look-up of a hash table, no allocation. Of two flags with one key the last counts.
    pub fn flag(&self, key: &str) -> Option<Flag<'_>> {
        self.described.set.flag(key).map(|entry| self.view(entry))
    }

    /// The flags in the order of the list.
    pub fn flags(&self) -> impl ExactSizeIterator<Item = Flag<'_>> {
        self.described
            .set
            .flags()
            .iter()
            .map(|entry| self.view(entry))
    }

    /// The group types, by index; `{}` if the set has none.
    pub fn group_type_mapping(&self) -> RawJson<'_> {
        RawJson::new(self.described.set.group_type_mapping().unwrap_or("{}"))
    }

    /// The cohorts, by id; `{}` if the set has none.
    pub fn cohorts(&self) -> RawJson<'_> {
        RawJson::new(self.described.set.cohorts().unwrap_or("{}"))
    }

    /// Whether `$feature_flag_called` events may be sent without their flag's properties: true for JSON `true` only.
    pub fn minimal_flag_called_events(&self) -> bool {
        self.described.set.minimal_flag_called_events()
    }

    /// Which rules of property matching the set was made for; `None` if it does not say.
    pub fn property_matching_version(&self) -> Option<u64> {
        self.described.set.property_matching_version()
    }

    /// A top-level member by the name that stands in the API's object. Of two with one name the last counts.
    pub fn member(&self, name: &str) -> Option<RawJson<'_>> {
        self.described.set.member(name).map(RawJson::new)
    }

    /// The API's top-level members in their order, `flags` among them, without what the stored form adds.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, RawJson<'_>)> {
        let text = self.described.set.text();
        self.described
            .set
            .members()
            .iter()
            .map(move |member| (member.name.of(text), RawJson::new(member.value.of(text))))
    }

    /// Decodes the API's object into a struct or a map, without what the stored form adds. `T` may borrow from the set.
    ///
    /// # Errors
    /// If `T` does not fit; line and column count from the start of the member at fault.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        let members = Members {
            text: self.described.set.text(),
            rest: self.described.set.members().iter(),
            value: "",
        };
        T::deserialize(MapAccessDeserializer::new(members))
    }

    pub(crate) fn has_hidden_flags(&self) -> bool {
        self.described.set.has_hidden_flags()
    }

    fn view<'a>(&'a self, entry: &'a FlagEntry) -> Flag<'a> {
        let text = self.described.set.text();
        Flag::new(entry.key.of(text), entry.json.of(text))
    }
}

/// Equal content with equal metadata.
impl PartialEq for FlagDefinitionCacheData {
    fn eq(&self, other: &Self) -> bool {
        self.same_content(other) && self.described.metadata == other.described.metadata
    }
}

impl Eq for FlagDefinitionCacheData {}

/// Shows what identifies the set, never its content.
impl fmt::Debug for FlagDefinitionCacheData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagDefinitionCacheData")
            .field("flags", &self.len())
            .field("len", &self.described.set.raw().len())
            .field("fingerprint", &self.content_fingerprint())
            .field("etag", &self.etag())
            .field("fetched_at", &self.fetched_at())
            .field("project", &self.project())
            .finish()
    }
}

/// Lends a set's buffer out as bytes.
struct Buffer(Arc<Set>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.0.text().as_bytes()
    }
}

/// The members of a set as serde sees a map.
struct Members<'a> {
    text: &'a str,
    rest: std::slice::Iter<'a, Member>,
    value: &'a str,
}

impl<'a> MapAccess<'a> for Members<'a> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let Some(member) = self.rest.next() else {
            return Ok(None);
        };
        self.value = member.value.of(self.text);
        seed.deserialize(BorrowedStrDeserializer::new(member.name.of(self.text)))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        seed.deserialize(&mut serde_json::Deserializer::from_str(self.value))
    }
}

/// The bytes as text, without a copy if this is their only handle, and without a large unused rest behind them.
fn text(bytes: Bytes) -> Result<String, DataError> {
    if bytes.len() > MAX_LEN {
        return Err(DataError::new(
            DataErrorKind::TooLarge,
            format!("{} bytes; less than 4 GiB can be read", bytes.len()),
        ));
    }
    let mut text = String::from_utf8(Vec::from(bytes)).map_err(|error| {
        let error = error.utf8_error();
        DataError::new(
            DataErrorKind::NotJson,
            format!("not UTF-8 at byte {}", error.valid_up_to()),
        )
        .with_source(error)
    })?;
    if text.capacity() > text.len() + text.len() / 8 {
        text.shrink_to_fit();
    }
    Ok(text)
}

fn stripped(text: &str, scan: &scan::Scan) -> Result<Set, DataError> {
    let plain = stored_form::strip(text, scan);
    let scan = scan::scan(&plain)?;
    set_of(plain, scan)
}

/// The set of a text without an envelope, in the form that the API writes.
fn set_of(text: String, scan: scan::Scan) -> Result<Set, DataError> {
    match index::canonical(&text, &scan.members) {
        Some(canonical) => rescanned(canonical),
        None => Set::new(text, scan),
    }
}

fn rescanned(text: String) -> Result<Set, DataError> {
    let scan = scan::scan(&text)?;
    Set::new(text, scan)
}

async fn off_thread<F>(len: usize, read: F) -> Result<FlagDefinitionCacheData, DataError>
where
    F: FnOnce() -> Result<FlagDefinitionCacheData, DataError> + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if len > INLINE_LEN => {
            runtime.spawn_blocking(read).await.unwrap_or_else(|error| {
                Err(DataError::new(
                    DataErrorKind::Interrupted,
                    "the runtime stopped before the copy was read",
                )
                .with_source(error))
            })
        }
        _ => read(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_unused_part_of_the_buffer_is_freed() {
        let mut buffer = Vec::with_capacity(1 << 20);
        buffer.extend_from_slice(br#"{"flags":[]}"#);
        assert!(text(Bytes::from(buffer)).unwrap().capacity() < 100);
    }
}
