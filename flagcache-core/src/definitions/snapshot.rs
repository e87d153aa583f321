//! [`FlagDefinitionCacheData`]: one immutable snapshot of flag definitions.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, MapAccess};

use crate::definitions::compared;
use crate::definitions::fingerprint::{ContentFingerprint, CopyId};
use crate::definitions::incremental::{self, Incremental};
use crate::definitions::index::{self, DefinitionsIndex, Known};
use crate::definitions::patched::{self, Patched, Step};
use crate::definitions::scan::{self, FlagEntry, MAX_LEN};
use crate::definitions::stored_form::{self, Metadata, Opened};
use crate::{DataError, DataErrorKind, Flag, ProjectFingerprint, RawJson};

/// The length of the head of a stored copy, in bytes. The head identifies the copy: it contains the fingerprints of its
/// content and of its metadata.
pub const HEAD_LEN: usize = 400;

/// Up to this size, [`decode`](FlagDefinitionCacheData::decode) works inline: it takes about a millisecond.
const INLINE_LEN: usize = 256 * 1024;

/// One immutable snapshot of flag definitions, with the ETag, the time and the project that it was fetched with.
///
/// It keeps the JSON that the API sent, byte for byte, and an index of it: unknown members and numbers of any size
/// survive. Clones share everything, and a snapshot that a [`Patch`](crate::Patch) was applied to shares its unchanged text
/// with the result.
///
/// [`to_json`](Self::to_json) and [`from_json`](Self::from_json) are the *stored form*, which the PostHog SDKs read
/// too: the API's own object, preceded by a member `_flagcache` with the metadata, and followed by the camelCase
/// spelling of the members that some SDKs know under that name.
///
/// ```
/// use flagcache_core::FlagDefinitionCacheData;
///
/// let definitions = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"new-checkout","active":true}]}"#)?;
/// let flag = definitions.flag("new-checkout").ok_or("no such flag")?;
/// assert_eq!(flag.json(), r#"{"key":"new-checkout","active":true}"#);
/// assert_eq!(FlagDefinitionCacheData::from_json(definitions.to_json())?, definitions);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Serialize` and `Deserialize` carry the stored form through plain serde_json, as a field of a struct too. They do not
/// work through `#[serde(flatten)]`, tagged enums, YAML or binary formats: use `to_json` and `from_json` there.
#[derive(Clone)]
pub struct FlagDefinitionCacheData {
    described: Arc<Described>,
}

/// The target of a handle. Its alignment keeps the reference count on cache lines of its own; see
/// [`another_handle`](FlagDefinitionCacheData::another_handle).
#[derive(Clone)]
#[repr(align(128))]
struct Described {
    index: Arc<DefinitionsIndex>,
    metadata: Metadata,
    /// The text is the stored form with this metadata.
    is_stored_form: bool,
}

/// Decoding and encoding.
impl FlagDefinitionCacheData {
    /// Decodes a stored copy, another SDK's copy, or an API body. Takes the buffer over; does not copy it if this is
    /// its only handle.
    ///
    /// A copy that does not match its own fingerprints (edited by hand, or reordered by a document store) keeps its
    /// definitions and loses its metadata. Values that other languages and document stores write differently from the
    /// API are repaired: a list in place of `group_type_mapping` or `cohorts` becomes a mapping (PHP's `[]` an empty
    /// one), and a `property_matching_version` of `2.0` becomes `2`.
    ///
    /// # Errors
    ///
    /// If the bytes are not flag definitions, or have a newer schema or another feed; see [`DataErrorKind`].
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, DataError> {
        Self::of_text(text(json.into())?)
    }

    /// [`from_json`](Self::from_json) for a copy that differs little from `previous`: the same result and the same
    /// errors, but flags whose text is the same in both are compared, not scanned, so that the cost depends on the size of
    /// the change.
    ///
    /// The result does not depend on `previous`, which may be `None`; a related one makes the call fast. The members after
    /// the flags are scanned if one of them differs; the whole copy is scanned if it begins differently.
    ///
    /// ```
    /// use flagcache_core::FlagDefinitionCacheData;
    ///
    /// let previous = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"a"},{"key":"b"}]}"#)?;
    /// let json = r#"{"flags":[{"key":"a"},{"key":"b","active":true}]}"#;
    /// let definitions = FlagDefinitionCacheData::from_json_after(json, &previous)?;
    /// assert_eq!(definitions, FlagDefinitionCacheData::from_json(json)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub fn from_json_after<'a>(
        json: impl Into<Bytes>,
        previous: impl Into<Option<&'a Self>>,
    ) -> Result<Self, DataError> {
        let text = text(json.into())?;
        match incremental::scan(&text, previous.into().map(Self::index)) {
            Some(found) => Self::of_incremental(text, found, None),
            None => Self::of_text(text),
        }
    }

    /// [`from_json_after`](Self::from_json_after) for a stored copy in a file or another reader. If all changed flags are near
    /// each other, as a single one is, the text is compared block by block, and the result shares the text of `previous`:
    /// it needs little memory of its own. Otherwise the whole text is read.
    ///
    /// Blocks while it reads.
    ///
    /// ```
    /// use std::io::Cursor;
    ///
    /// use flagcache_core::FlagDefinitionCacheData;
    ///
    /// let previous = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"a"}]}"#)?;
    /// let mut file = Cursor::new(r#"{"flags":[{"key":"a","active":true}]}"#);
    /// let definitions = FlagDefinitionCacheData::from_reader_after(&mut file, &previous)??;
    /// assert_eq!(definitions.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The outer error is that of the reader, the inner one as of [`from_json`](Self::from_json).
    pub fn from_reader_after<'a>(
        reader: &mut (impl Read + Seek),
        previous: impl Into<Option<&'a Self>>,
    ) -> io::Result<Result<Self, DataError>> {
        let previous = previous.into();
        if let Some(previous) = previous
            && let Some(compared) = compared::compare(reader, previous.index())?
            && let Some(definitions) = Self::patched(previous, &compared.steps())
        {
            return Ok(Ok(definitions));
        }
        reader.seek(SeekFrom::Start(0))?;
        let mut json = Vec::new();
        reader.read_to_end(&mut json)?;
        Ok(Self::from_json_after(json, previous))
    }

    /// The definitions that result from these steps of a patch. `None` if they cannot share the text of `old`, or are not
    /// valid.
    pub(crate) fn patched(old: &Self, steps: &[Step<'_>]) -> Option<Self> {
        let Patched {
            text,
            scan,
            metadata,
            known,
        } = patched::patch(old.index(), steps)?;
        let index = DefinitionsIndex::with(text, scan, known).ok()?;
        Some(Self::new(index, metadata, true))
    }

    fn of_incremental(
        text: String,
        found: Incremental,
        fetched: Option<Metadata>,
    ) -> Result<Self, DataError> {
        let is_stored_form = found.stored.is_some() && fetched.is_none();
        let metadata = fetched.or(found.stored).unwrap_or_default();
        let index = DefinitionsIndex::with(text, found.scan, found.known)?;
        Ok(Self::new(index, metadata, is_stored_form))
    }

    fn of_text(text: String) -> Result<Self, DataError> {
        let scan = scan::scan(&text)?;
        match stored_form::open(&text, scan)? {
            Opened::Plain(scan) => Ok(Self::new(
                build_index(text, scan)?,
                Metadata::default(),
                false,
            )),
            Opened::Stored(scan, metadata, fingerprint) => {
                match index::canonical(&text, &scan.members) {
                    Some(canonical) => Ok(Self::new(rescan(canonical)?, metadata, false)),
                    None => {
                        let known = Known {
                            fingerprint: Some(fingerprint),
                            ..Known::default()
                        };
                        let index = DefinitionsIndex::with(text, scan, known)?;
                        Ok(Self::new(index, metadata, true))
                    }
                }
            }
            Opened::Foreign(scan) => Ok(Self::new(
                strip_envelope(&text, &scan)?,
                Metadata::default(),
                false,
            )),
        }
    }

    /// Decodes the body of a 200. An empty ETag counts as none; any other is kept byte for byte. A `_flagcache` member
    /// in the body is dropped.
    ///
    /// # Errors
    ///
    /// If the body is not flag definitions; see [`DataErrorKind`].
    pub fn from_api_response(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Result<Self, DataError> {
        Self::from_api_response_after(body, etag, fetched_at, project, None)
    }

    /// [`from_api_response`](Self::from_api_response) for a body that differs little from `previous`; see
    /// [`from_json_after`](Self::from_json_after).
    pub(crate) fn from_api_response_after(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
        previous: Option<&Self>,
    ) -> Result<Self, DataError> {
        let text = text(body.into())?;
        let metadata = Metadata::new(etag, fetched_at, project);
        let found = incremental::scan(&text, previous.map(Self::index));
        // An envelope in a body is dropped, which changes the text.
        if let Some(found) = found.filter(|found| found.stored.is_none()) {
            return Self::of_incremental(text, found, Some(metadata));
        }
        let scan = scan::scan(&text)?;
        let index = if stored_form::has_envelope(&text, &scan) {
            strip_envelope(&text, &scan)?
        } else {
            build_index(text, scan)?
        };
        Ok(Self::new(index, metadata, false))
    }

    /// [`from_json`](Self::from_json) for async code: a large copy (more than 256 KiB) is decoded on tokio's blocking
    /// pool, so that it does not block the caller's runtime thread. Without a runtime it is decoded inline.
    ///
    /// Cancel safe: a dropped call finishes in the background and its result is discarded.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json); [`DataErrorKind::Interrupted`] if the runtime is shutting down.
    pub async fn decode(json: impl Into<Bytes>) -> Result<Self, DataError> {
        Self::decode_after(json, None::<&Self>).await
    }

    /// [`from_json_after`](Self::from_json_after) for async code, like [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub async fn decode_after<'a>(
        json: impl Into<Bytes>,
        previous: impl Into<Option<&'a Self>>,
    ) -> Result<Self, DataError> {
        let (json, previous) = (json.into(), previous.into().cloned());
        off_thread(json.len(), move || {
            Self::from_json_after(json, previous.as_ref())
        })
        .await
    }

    /// [`from_api_response`](Self::from_api_response) for async code, like [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// As [`from_api_response`](Self::from_api_response); [`DataErrorKind::Interrupted`] if the runtime is shutting
    /// down.
    pub async fn decode_api_response(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Result<Self, DataError> {
        Self::decode_api_response_after(body, etag, fetched_at, project, None).await
    }

    /// [`decode_api_response`](Self::decode_api_response) for a body that differs little from `previous`; see
    /// [`from_json_after`](Self::from_json_after).
    pub(crate) async fn decode_api_response_after(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
        previous: Option<&Self>,
    ) -> Result<Self, DataError> {
        let body = body.into();
        let etag = etag.map(str::to_owned);
        let previous = previous.cloned();
        off_thread(body.len(), move || {
            let previous = previous.as_ref();
            Self::from_api_response_after(body, etag.as_deref(), fetched_at, project, previous)
        })
        .await
    }

    /// The stored form. Returns the snapshot's own buffer if it was decoded from the stored form; otherwise, and after a
    /// [`Patch`](crate::Patch), writes it in one allocation.
    pub fn to_json(&self) -> Bytes {
        if self.described.is_stored_form {
            return self.bytes(0..self.index().text().len());
        }
        let mut json = String::with_capacity(self.json_len());
        let [head, tail] = self.around();
        json.push_str(&head);
        json.extend(self.index().text().slices(self.index().raw_range()));
        json.push_str(&tail);
        Bytes::from(json)
    }

    /// [`to_json`](Self::to_json) in three parts, to be written one after the other: the metadata, the definitions' own
    /// members, and the rest. Unlike `to_json`, copies nothing large if the API returned the
    /// snapshot. After a [`Patch`](crate::Patch), copies the members.
    ///
    /// ```
    /// use flagcache_core::FlagDefinitionCacheData;
    ///
    /// let definitions = FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#)?;
    /// assert_eq!(definitions.to_json_parts().concat(), definitions.to_json());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json_parts(&self) -> [Bytes; 3] {
        let [head, tail] = self.around().map(|part| Bytes::from(part.into_owned()));
        [head, self.bytes(self.index().raw_range()), tail]
    }

    /// The first [`HEAD_LEN`] bytes of the stored form, without the cost of the rest. Two stored copies are the same if
    /// their heads are equal, so a store can compare heads instead of reading bodies.
    pub fn head(&self) -> Bytes {
        let [head, tail] = self.around();
        let members = self.index().text().slices(self.index().raw_range());
        let text = iter::once(&*head).chain(members).chain([&*tail]);
        text.flat_map(str::bytes).take(HEAD_LEN).collect()
    }

    /// The length of [`to_json`](Self::to_json), without the cost of writing it.
    pub fn json_len(&self) -> usize {
        let around = self.around().map(|part| part.len());
        around.iter().sum::<usize>() + self.content_len()
    }

    /// The definitions as the API sent them, without envelope and aliases. Allocates if they were decoded from the
    /// stored form.
    pub fn raw_json(&self) -> Bytes {
        if self.index().is_plain() {
            return self.bytes(0..self.index().text().len());
        }
        Bytes::from(["{", &self.index().raw(), "}"].concat())
    }

    /// The text of the stored form before and after the definitions' own members.
    pub(crate) fn around(&self) -> [Cow<'_, str>; 2] {
        if self.described.is_stored_form {
            let (text, raw) = (self.index().text(), self.index().raw_range());
            [0..raw.start, raw.end..text.len()].map(|range| text.slice(range))
        } else {
            stored_form::around(&self.described.index, &self.described.metadata).map(Cow::Owned)
        }
    }

    /// Whether the text is the stored form.
    pub(crate) fn is_stored_form(&self) -> bool {
        self.described.is_stored_form
    }

    fn new(index: DefinitionsIndex, metadata: Metadata, is_stored_form: bool) -> Self {
        Self::of(Described {
            index: Arc::new(index),
            metadata,
            is_stored_form,
        })
    }

    pub(crate) fn index(&self) -> &DefinitionsIndex {
        &self.described.index
    }

    fn of(described: Described) -> Self {
        Self {
            described: Arc::new(described),
        }
    }

    /// A handle with a reference count of its own. Threads that clone and drop handles with the same count all the time
    /// contend for it.
    pub(crate) fn another_handle(&self) -> Self {
        Self::of(Described::clone(&self.described))
    }

    /// A range of the text. Copies it if the text has several pieces.
    fn bytes(&self, range: Range<usize>) -> Bytes {
        match self.index().text().buffer() {
            Some(buffer) => Bytes::from_owner(Buffer(Arc::clone(buffer))).slice(range),
            None => Bytes::from(self.index().text().slice(range).into_owned()),
        }
    }
}

/// Metadata and identity.
impl FlagDefinitionCacheData {
    /// The ETag that the API returned for exactly this content.
    pub fn etag(&self) -> Option<&str> {
        self.described.metadata.etag.as_deref()
    }

    /// When the API returned this content, with millisecond precision.
    pub fn fetched_at(&self) -> Option<SystemTime> {
        self.described.metadata.fetched_at()
    }

    /// The project that the definitions belong to.
    pub fn project(&self) -> Option<ProjectFingerprint> {
        self.described.metadata.project
    }

    /// The same definitions with another ETag, for a 304 that carries one. Shares the buffer. An empty ETag counts as
    /// none.
    #[must_use]
    pub fn with_etag(&self, etag: Option<&str>) -> Self {
        let metadata = self.described.metadata.clone().with_etag(etag);
        if metadata == self.described.metadata {
            return self.clone();
        }
        Self::of(Described {
            index: Arc::clone(&self.described.index),
            metadata,
            is_stored_form: false,
        })
    }

    /// The fingerprint of the content, without the metadata. Computed once, when decoding.
    pub fn content_fingerprint(&self) -> ContentFingerprint {
        self.described.index.fingerprint()
    }

    /// The length of the definitions in bytes, without metadata.
    pub(crate) fn content_len(&self) -> usize {
        self.described.index.content().len
    }

    /// Whether both have the same content, byte for byte, compared by length and fingerprint.
    pub fn same_content(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.described.index, &other.described.index)
            || self.described.index.content() == other.described.index.content()
    }

    /// Identifies this copy: the content and the metadata.
    pub fn copy_id(&self) -> CopyId {
        let content = self.described.index.fingerprint();
        CopyId::new(content, self.described.metadata.check(content))
    }
}

/// Access to flags and members.
impl FlagDefinitionCacheData {
    /// How many flags there are.
    pub fn len(&self) -> usize {
        self.described.index.flags().len()
    }

    /// Whether there are no flags. Such definitions are valid, in contrast to missing ones.
    pub fn is_empty(&self) -> bool {
        self.described.index.flags().is_empty()
    }

    /// The flag with this key: one hash-table lookup, no allocation. Of two flags with the same key the last wins.
    pub fn flag(&self, key: &str) -> Option<Flag<'_>> {
        self.described.index.flag(key).map(|entry| self.view(entry))
    }

    /// The flags in their order.
    pub fn flags(&self) -> impl ExactSizeIterator<Item = Flag<'_>> {
        self.described
            .index
            .flags()
            .iter()
            .map(|entry| self.view(entry))
    }

    /// The flag at this position, which must exist.
    pub(crate) fn flag_at(&self, position: usize) -> Flag<'_> {
        self.view(&self.described.index.flags()[position])
    }

    /// The group types, by index; `{}` if there are none.
    pub fn group_type_mapping(&self) -> RawJson<'_> {
        RawJson::new(self.described.index.group_type_mapping().unwrap_or("{}"))
    }

    /// The cohorts, by ID; `{}` if there are none.
    pub fn cohorts(&self) -> RawJson<'_> {
        RawJson::new(self.described.index.cohorts().unwrap_or("{}"))
    }

    /// Whether `$feature_flag_called` events may omit their flag's properties: only if the member is JSON `true`.
    pub fn minimal_flag_called_events(&self) -> bool {
        self.described.index.minimal_flag_called_events()
    }

    /// The version of the property matching rules; `None` if absent.
    pub fn property_matching_version(&self) -> Option<u64> {
        self.described.index.property_matching_version()
    }

    /// A top-level member by its name in the API's object. Of two with the same name the last wins.
    ///
    /// After a [`Patch`](crate::Patch), the first access to the member `flags`, here, in [`members`](Self::members) or in
    /// [`deserialize`](Self::deserialize), copies its text, and the snapshot keeps the copy. [`flags`](Self::flags) copies
    /// nothing.
    pub fn member(&self, name: &str) -> Option<RawJson<'_>> {
        self.described.index.member(name).map(RawJson::new)
    }

    /// The API's top-level members in their order, including `flags`, without what the stored form adds.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, RawJson<'_>)> {
        let index = self.index();
        index.members().iter().enumerate().map(|(at, member)| {
            let name = member.name.of(index.text());
            (name, RawJson::new(index.member_value(at)))
        })
    }

    pub(crate) fn member_names(&self) -> impl Iterator<Item = &str> {
        let index = self.index();
        index
            .members()
            .iter()
            .map(|member| member.name.of(index.text()))
    }

    /// Decodes the API's object into a struct or a map, without what the stored form adds. `T` may borrow from the
    /// snapshot.
    ///
    /// # Errors
    ///
    /// If `T` does not fit. Line and column count from the start of the offending member.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        let members = Members {
            index: self.index(),
            next: 0,
        };
        T::deserialize(MapAccessDeserializer::new(members))
    }

    pub(crate) fn has_hidden_flags(&self) -> bool {
        self.described.index.has_hidden_flags()
    }

    fn view<'a>(&'a self, entry: &'a FlagEntry) -> Flag<'a> {
        let text = self.described.index.text();
        Flag::new(entry.key.of(text), entry.json.of(text))
    }
}

/// Equal content and equal metadata.
impl PartialEq for FlagDefinitionCacheData {
    fn eq(&self, other: &Self) -> bool {
        self.same_content(other) && self.described.metadata == other.described.metadata
    }
}

impl Eq for FlagDefinitionCacheData {}

/// Shows what identifies the snapshot, never its content.
impl fmt::Debug for FlagDefinitionCacheData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagDefinitionCacheData")
            .field("flags", &self.len())
            .field("len", &self.content_len())
            .field("fingerprint", &self.content_fingerprint())
            .field("etag", &self.etag())
            .field("fetched_at", &self.fetched_at())
            .field("project", &self.project())
            .finish()
    }
}

/// Exposes a buffer as bytes.
struct Buffer(Arc<String>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The members as a serde map.
struct Members<'a> {
    index: &'a DefinitionsIndex,
    /// The position of the next name.
    next: usize,
}

impl<'a> MapAccess<'a> for Members<'a> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let Some(member) = self.index.members().get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let name = member.name.of(self.index.text());
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        let value = self
            .next
            .checked_sub(1)
            .map_or("", |at| self.index.member_value(at));
        seed.deserialize(&mut serde_json::Deserializer::from_str(value))
    }
}

/// The bytes as text. Avoids a copy if this is the only handle, unless a large part of the allocation is unused.
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

fn strip_envelope(text: &str, scan: &scan::Scan) -> Result<DefinitionsIndex, DataError> {
    let plain = stored_form::strip(text, scan);
    let scan = scan::scan(&plain)?;
    build_index(plain, scan)
}

/// The snapshot of a text without an envelope, in the form that the API writes.
fn build_index(text: String, scan: scan::Scan) -> Result<DefinitionsIndex, DataError> {
    match index::canonical(&text, &scan.members) {
        Some(canonical) => rescan(canonical),
        None => DefinitionsIndex::new(text, scan),
    }
}

fn rescan(text: String) -> Result<DefinitionsIndex, DataError> {
    let scan = scan::scan(&text)?;
    DefinitionsIndex::new(text, scan)
}

/// Runs `read` on tokio's blocking pool if the result has more than [`INLINE_LEN`] bytes.
pub(crate) async fn off_thread<F, E>(len: usize, read: F) -> Result<FlagDefinitionCacheData, E>
where
    F: FnOnce() -> Result<FlagDefinitionCacheData, E> + Send + 'static,
    E: From<DataError> + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if len > INLINE_LEN => {
            runtime.spawn_blocking(read).await.unwrap_or_else(|error| {
                let interrupted = DataError::new(
                    DataErrorKind::Interrupted,
                    "the runtime stopped before the copy was read",
                );
                Err(E::from(interrupted.with_source(error)))
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
