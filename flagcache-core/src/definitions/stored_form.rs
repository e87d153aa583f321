//! The stored form: the definitions' members byte for byte, preceded by an envelope with the metadata, and followed by
//! aliases for SDKs that use the other spelling.
//!
//! ```json
//! {"_flagcache":{"schema":1,"fingerprint":"…","length":123,"check":"…","fetched_at":1760000000000,"project":"…","etag":"…"},
//!  "flags":[…],"group_type_mapping":{…},…,"groupTypeMapping":{…},…}
//! ```
//!
//! `fingerprint` and `length` describe the members that follow; `check` is a fingerprint of the rest of the envelope.
//! Everything that identifies a copy is in its first 400 bytes, however long the ETag is.
//!
//! The envelope of the present feed, which the API serves without a version in the request, names no feed. One that names
//! another (`"feed":2` for `?v=2`) is refused: such definitions belong under a service name of their own, the name of the
//! service with `.v2` at its end.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::index::{self, DefinitionsIndex};
use crate::definitions::scan::{self, Scan, Span};
use crate::{DataError, DataErrorKind, ProjectFingerprint};

/// The member with the metadata; other SDKs ignore it.
pub(crate) const NAME: &str = "_flagcache";

const SCHEMA: u64 = 1;

/// The feed of the API that is stored here. Envelopes do not name it.
const FEED: u64 = 1;

/// The metadata of definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) etag: Option<Box<str>>,
    /// Milliseconds since 1970.
    pub(crate) fetched_at: Option<u64>,
    pub(crate) project: Option<ProjectFingerprint>,
}

impl Metadata {
    pub(crate) fn new(
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Self {
        let since_1970 = fetched_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let fetched_at = u64::try_from(since_1970.as_millis()).ok();
        Self {
            etag: None,
            fetched_at,
            project,
        }
        .with_etag(etag)
    }

    pub(crate) fn with_etag(self, etag: Option<&str>) -> Self {
        Self {
            etag: etag.filter(|etag| !etag.is_empty()).map(Box::from),
            ..self
        }
    }

    pub(crate) fn fetched_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.fetched_at?))
    }

    /// The envelope's members with the metadata. The ETag is last, because its length is unbounded.
    fn json(&self) -> String {
        let mut json = String::from(r#""fetched_at":"#);
        // Writing to a string cannot fail.
        let _ = match self.fetched_at {
            Some(milliseconds) => write!(json, "{milliseconds}"),
            None => write!(json, "null"),
        };
        let _ = match self.project {
            Some(project) => write!(json, r#","project":"{:016x}","#, project.raw()),
            None => write!(json, r#","project":null,"#),
        };
        let etag = self
            .etag
            .as_deref()
            .map_or(serde_json::Value::Null, serde_json::Value::from);
        let _ = write!(json, r#""etag":{etag}"#);
        json
    }

    /// Identifies this metadata together with content of this fingerprint.
    pub(crate) fn check(&self, content: ContentFingerprint) -> u64 {
        check(&self.json(), content)
    }
}

fn check(metadata: &str, content: ContentFingerprint) -> u64 {
    xxh3_64_with_seed(metadata.as_bytes(), content.as_u64())
}

/// The text before and after the definitions' own members in the stored form.
pub(crate) fn around(definitions: &DefinitionsIndex, metadata: &Metadata) -> [String; 2] {
    let (fingerprint, length, json) = (
        definitions.fingerprint(),
        definitions.content().len,
        metadata.json(),
    );
    let check = check(&json, fingerprint);
    let head = format!(
        r#"{{"{NAME}":{{"schema":{SCHEMA},"fingerprint":"{fingerprint}","length":{length},"check":"{check:016x}",{json}}},"#
    );
    let mut tail = index::aliases(definitions.text(), definitions.members());
    tail.push('}');
    [head, tail]
}

/// The result of looking for the envelope.
pub(crate) enum Opened {
    /// No envelope: another SDK's copy, or an API body.
    Plain(Scan),
    /// A stored copy. The scan holds the definitions' own members only; the fingerprint is theirs.
    Stored(Scan, Metadata, ContentFingerprint),
    /// An envelope that does not match its members.
    Foreign(Scan),
}

/// Finds the envelope and checks it against the members.
pub(crate) fn open(text: &str, mut scan: Scan) -> Result<Opened, DataError> {
    for member in scan
        .members
        .iter()
        .filter(|member| member.name.of(text) == NAME)
    {
        refuse_other_formats(member.value.of(text))?;
    }
    let verified = match scan
        .members
        .iter()
        .position(|member| member.name.of(text) == NAME)
    {
        None => return Ok(Opened::Plain(scan)),
        // Reordered by a document store: the envelope does not precede its members any more.
        Some(1..) => None,
        Some(0) => verify(text, &scan),
    };
    match verified {
        Some((own, metadata, fingerprint)) => {
            scan.members.truncate(own + 1);
            scan.members.remove(0);
            Ok(Opened::Stored(scan, metadata, fingerprint))
        }
        None => Ok(Opened::Foreign(scan)),
    }
}

/// The text without its envelopes.
pub(crate) fn strip(text: &str, scan: &Scan) -> String {
    let mut plain = String::with_capacity(text.len());
    for member in scan
        .members
        .iter()
        .filter(|member| member.name.of(text) != NAME)
    {
        plain.push(if plain.is_empty() { '{' } else { ',' });
        plain.push_str(member.whole.of(text));
    }
    plain.push('}');
    plain
}

/// Whether a member has the envelope's name.
pub(crate) fn has_envelope(text: &str, scan: &Scan) -> bool {
    scan.members
        .iter()
        .any(|member| member.name.of(text) == NAME)
}

fn refuse_other_formats(envelope: &str) -> Result<(), DataError> {
    #[derive(Deserialize)]
    struct Format {
        #[serde(default)]
        schema: Value,
        #[serde(default)]
        feed: Value,
    }
    let Ok(Format { schema, feed }) = serde_json::from_str(envelope) else {
        return Ok(());
    };
    if let Some(schema) = schema.as_u64().filter(|schema| *schema > SCHEMA) {
        let message = format!(
            "stored in schema {schema}, newer than {SCHEMA}; update this worker or clear the copy"
        );
        return Err(DataError::new(DataErrorKind::NewerSchema, message));
    }
    if !feed.is_null() && feed != FEED {
        let message = format!(
            "stored from another feed of the API than feed {FEED}; give the workers of each feed a service name of their own"
        );
        return Err(DataError::new(DataErrorKind::OtherFeed, message));
    }
    Ok(())
}

/// The envelope as written. Unknown members are those of a later release.
#[derive(Deserialize)]
pub(crate) struct Envelope {
    schema: u64,
    fingerprint: String,
    length: usize,
    check: String,
    fetched_at: Option<u64>,
    project: Option<String>,
    etag: Option<String>,
}

impl Envelope {
    /// `None` if it is not in the present schema.
    fn read(json: &str) -> Option<Self> {
        let envelope: Self = serde_json::from_str(json).ok()?;
        (envelope.schema == SCHEMA).then_some(envelope)
    }

    /// The envelope that a text begins with, and the position after it. `None` if the text does not begin as
    /// [`around`] writes it.
    pub(crate) fn at_the_start_of(text: &str) -> Option<(Self, usize)> {
        let name = ["{\"", NAME, "\":"].concat();
        let mut values = serde_json::Deserializer::from_str(text.strip_prefix(&name)?).into_iter();
        let value: &RawValue = values.next()?.ok()?;
        refuse_other_formats(value.get()).ok()?;
        let end = name.len() + values.byte_offset();
        Some((Self::read(value.get())?, end))
    }

    /// The length of the definitions' own members.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Compares the envelope with the definitions' own members, and returns the metadata and their fingerprint; `None` if
    /// the members, the aliases or the metadata were changed. `length` is that of the members, `tail` what follows them
    /// without the closing brace, and `aliases` what has to follow them. `fingerprint` is called only if these match.
    pub(crate) fn verify(
        self,
        length: usize,
        tail: &str,
        aliases: &str,
        fingerprint: impl FnOnce() -> ContentFingerprint,
    ) -> Option<(Metadata, ContentFingerprint)> {
        if self.length != length || tail != aliases {
            return None;
        }
        let content = fingerprint();
        let metadata = Metadata {
            etag: self
                .etag
                .filter(|etag| !etag.is_empty())
                .map(String::into_boxed_str),
            fetched_at: self.fetched_at,
            project: match self.project {
                Some(hex) => Some(ProjectFingerprint::from_raw(
                    u64::from_str_radix(&hex, 16).ok()?,
                )),
                None => None,
            },
        };
        let is_ours = self.fingerprint == content.to_string()
            && self.check == format!("{:016x}", metadata.check(content));
        is_ours.then_some((metadata, content))
    }
}

/// How many members the envelope (the first member) covers, its metadata, and the fingerprint of those members.
/// `None` if the members, the aliases or the metadata were changed.
fn verify(text: &str, scan: &Scan) -> Option<(usize, Metadata, ContentFingerprint)> {
    let [first, members @ ..] = &scan.members[..] else {
        return None;
    };
    let envelope = Envelope::read(first.value.of(text))?;
    let start = members.first()?.whole.start();
    let end = start.checked_add(envelope.length)?;
    let own = members
        .iter()
        .position(|member| member.whole.end() == end)?
        + 1;
    let tail = Span::new(end, members.last()?.whole.end());
    let own_text = Span::new(start, end);
    let own_flags = &scan.flags[scan::flags_in(own_text, &scan.flags)];
    let (metadata, content) = envelope.verify(
        own_text.len(),
        tail.of(text),
        &index::aliases(text, &members[..own]),
        || ContentFingerprint::of(text, [(own_text, own_flags)]),
    )?;
    Some((own, metadata, content))
}
