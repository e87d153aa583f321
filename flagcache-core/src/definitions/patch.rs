//! [`Patch`]: turns one snapshot into another that differs from it in a few flags.

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::incremental::Sections;
use crate::definitions::index::{Content, DefinitionsIndex};
use crate::definitions::patched::Step;
use crate::definitions::scan::MAX_LEN;
use crate::definitions::snapshot::off_thread;
use crate::{DataError, FlagDefinitionCacheData};

/// The first bytes of an encoded patch. The digit is the version of the format.
const MAGIC: &[u8] = b"fcp1";

/// A patch is worthwhile if it is at most this fraction of the new stored copy.
const FRACTION: usize = 4;

/// Shorter ranges are inserted, which takes no more bytes than copying them.
const MIN_COPY: usize = 12;

/// The change from one snapshot to another: ranges to copy from the old definitions, and bytes to insert.
///
/// The result is the new snapshot's stored copy, byte for byte, with its metadata. A patch applies only to the content that
/// it was made from, and verifies the resulting content: any mismatch is an error.
///
/// ```
/// use flagcache_core::{FlagDefinitionCacheData, Patch};
///
/// let flags = |on: &str| {
///     let flags: Vec<_> = (0..100).map(|n| format!(r#"{{"key":"flag-{n}","active":{on}}}"#)).collect();
///     flags.join(",")
/// };
/// let read = |last: &str| FlagDefinitionCacheData::from_json(format!(r#"{{"flags":[{},{last}]}}"#, flags("true")));
/// let (old, new) = (read(r#"{"key":"last"}"#)?, read(r#"{"key":"last","active":true}"#)?);
///
/// let patch = Patch::between(&old, &new).ok_or("the definitions differ too much")?;
/// let patch = Patch::decode(patch.encode())?;
/// assert_eq!(patch.apply(&old)?.to_json(), new.to_json());
/// assert!(patch.apply(&new).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    from: Content,
    to: Content,
    /// The length of the stored copy.
    stored_len: usize,
    /// Where the definitions' own members begin in the stored copy.
    start: usize,
    encoded: Bytes,
    /// Where the instructions begin in `encoded`.
    instructions: usize,
}

/// Why a patch cannot be decoded or applied. Read the whole copy instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PatchError {
    /// Not an encoded patch, or one of another version.
    #[error("not a valid patch: {0}")]
    Malformed(&'static str),
    /// The patch was made from other definitions than those that it is applied to.
    #[error("the patch was made from other definitions")]
    OtherOrigin,
    /// The result is not what the patch promises.
    #[error("the patched definitions are not those that the patch promises")]
    OtherResult,
    /// The result is not a stored copy.
    #[error("the patched definitions cannot be read")]
    Data(#[from] DataError),
}

impl Patch {
    /// The patch that turns `old` into `new`. `None` if it would be larger than a quarter of the stored
    /// copy: reading the copy itself is the better choice then.
    ///
    /// Compares flags by key and the other members by name. Runs on the calling thread: some milliseconds for 10 MB.
    pub fn between(old: &FlagDefinitionCacheData, new: &FlagDefinitionCacheData) -> Option<Self> {
        Self::between_with_max_len(old, new, |stored_len| stored_len / FRACTION)
    }

    /// [`between`](Self::between) with another limit: `max_len` maps the length of the stored copy to the maximum length of
    /// the patch, in bytes.
    pub(crate) fn between_with_max_len(
        old: &FlagDefinitionCacheData,
        new: &FlagDefinitionCacheData,
        max_len: impl FnOnce(usize) -> usize,
    ) -> Option<Self> {
        let [head, tail] = new.around();
        let (old, new) = (old.index(), new.index());
        let (old_raw, raw) = (old.raw(), new.raw());
        let stored_len = head.len() + raw.len() + tail.len();
        let max_len = max_len(stored_len);
        let mut writer = Writer {
            old: &old_raw,
            instructions: Vec::new(),
            inserted: head.as_bytes().to_vec(),
            copied: 0..0,
            max_len,
        };
        let mut at = 0;
        let changed = new.changed_since(old);
        for Chunk { range, origin } in chunks(new, old) {
            writer.append(&raw[at..range.start], None)?;
            let text = &raw[range.clone()];
            match origin {
                Origin::Same(range) => writer.copy(range),
                Origin::Flag(position, _)
                    if changed.is_some_and(|changed| changed.binary_search(&position).is_err()) =>
                {
                    writer.copy(old.flag_range(position as usize));
                }
                Origin::Flag(_, key) => {
                    writer.append(text, Some(&|| Some(old.flag_range(old.position(key)?))))?;
                }
                Origin::Member(name) => {
                    let find = || old.member_range(old.member_position(name)?);
                    writer.append(text, Some(&find))?;
                }
            }
            at = range.end;
        }
        writer.append(&raw[at..], None)?;
        writer.insert(&tail);
        writer.flush();

        let (from, to) = (old.content(), new.content());
        let mut encoded = MAGIC.to_vec();
        for content in [from, to] {
            encoded.extend_from_slice(&content.fingerprint.as_u64().to_le_bytes());
        }
        for number in [from.len, to.len, stored_len, head.len()] {
            write_number(&mut encoded, number);
        }
        encoded.extend_from_slice(&writer.instructions);
        // Rejects what `decode` would reject, such as one flag twice in the new definitions and once in the old ones.
        let patch = Self::decode(encoded).ok()?;
        (patch.encoded.len() <= max_len).then_some(patch)
    }

    /// The patch as bytes.
    pub fn encode(&self) -> Bytes {
        self.encoded.clone()
    }

    /// Decodes a patch, and checks that its ranges are inside the old definitions and add up to the promised length.
    ///
    /// # Errors
    ///
    /// [`PatchError::Malformed`] for anything that [`encode`](Self::encode) does not return.
    pub fn decode(encoded: impl Into<Bytes>) -> Result<Self, PatchError> {
        let encoded = encoded.into();
        let mut reader = Reader { rest: &encoded };
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(PatchError::Malformed("another format or version"));
        }
        let (from, to) = (reader.fingerprint()?, reader.fingerprint()?);
        let [from_len, to_len, stored_len, start] = [
            reader.number()?,
            reader.number()?,
            reader.number()?,
            reader.number()?,
        ];
        let end = start.checked_add(to_len);
        if stored_len > MAX_LEN || end.is_none_or(|end| end > stored_len) {
            return Err(PatchError::Malformed("the lengths contradict each other"));
        }
        let instructions = encoded.len() - reader.rest.len();
        let (mut copied, mut total) = (0, 0);
        while let Some(Instruction { insert, copy }) = reader.instruction()? {
            if insert.is_empty() && copy.is_empty() {
                return Err(PatchError::Malformed("an instruction does nothing"));
            }
            if copy.end > from_len {
                return Err(PatchError::Malformed(
                    "a range is outside the old definitions",
                ));
            }
            copied += copy.len() as u64;
            total += insert.len() as u64 + copy.len() as u64;
            // A small patch must not produce a huge result by copying one range many times.
            if copied > from_len as u64 {
                return Err(PatchError::Malformed("it copies more than there is"));
            }
        }
        if total != stored_len as u64 {
            return Err(PatchError::Malformed(
                "the result has another length than promised",
            ));
        }
        Ok(Self {
            from: Content {
                fingerprint: from,
                len: from_len,
            },
            to: Content {
                fingerprint: to,
                len: to_len,
            },
            stored_len,
            start,
            instructions,
            encoded,
        })
    }

    /// Applies the patch to `old`, whatever the metadata of that.
    ///
    /// If only flags changed, the result shares the unchanged text with `old`. It costs a little work per flag, and reads what
    /// changed and the other members, but not the unchanged flags. The text is copied into a buffer of its own if anything else changed, or if it would otherwise keep a
    /// buffer alive of which it uses little.
    ///
    /// # Errors
    ///
    /// If `old` has other content than the patch was made from, or the result is not what the patch promises.
    pub fn apply(
        &self,
        old: &FlagDefinitionCacheData,
    ) -> Result<FlagDefinitionCacheData, PatchError> {
        if self.from != old.index().content() {
            return Err(PatchError::OtherOrigin);
        }
        let steps = self.steps()?;
        let data = match FlagDefinitionCacheData::patched(old, &steps) {
            Some(data) => data,
            None => FlagDefinitionCacheData::from_json_after(self.join(old, &steps)?, old)?,
        };
        // A result without a valid envelope has no metadata.
        let starts_there = data.index().raw_range().start == self.start;
        if data.is_stored_form() && starts_there && data.index().content() == self.to {
            Ok(data)
        } else {
            Err(PatchError::OtherResult)
        }
    }

    /// Applies several patches, each to the result of the one before. For async code: large
    /// definitions (more than 256 KiB) are patched on tokio's blocking pool. Without patches, returns `old`.
    ///
    /// Cancel safe: a dropped call finishes in the background and its result is discarded.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply), for any of the patches; [`PatchError::Data`] with
    /// [`DataErrorKind::Interrupted`](crate::DataErrorKind::Interrupted) if the runtime is shutting down.
    pub async fn apply_all(
        patches: Vec<Self>,
        old: &FlagDefinitionCacheData,
    ) -> Result<FlagDefinitionCacheData, PatchError> {
        let old = old.clone();
        let len = patches.last().map_or(0, |last| last.stored_len);
        off_thread(len, move || {
            let mut patches = patches.iter();
            patches.try_fold(old, |data, patch| patch.apply(&data))
        })
        .await
    }

    fn steps(&self) -> Result<Vec<Step<'_>>, PatchError> {
        let mut steps = Vec::new();
        let mut reader = Reader {
            rest: &self.encoded[self.instructions..],
        };
        while let Some(Instruction { insert, copy }) = reader.instruction()? {
            let insert = std::str::from_utf8(insert)
                .map_err(|_| PatchError::Malformed("it is not UTF-8"))?;
            let steps_of_it = [Step::Insert(insert), Step::Copy(copy)];
            steps.extend(steps_of_it.into_iter().filter(|step| step.len() > 0));
        }
        Ok(steps)
    }

    /// The stored copy that results from these steps.
    fn join(
        &self,
        old: &FlagDefinitionCacheData,
        steps: &[Step<'_>],
    ) -> Result<String, PatchError> {
        let raw = old.index().raw();
        let mut stored = String::new();
        // `decode` bounds it by the lengths of the old definitions and of the patch together.
        stored
            .try_reserve_exact(self.stored_len)
            .map_err(|_| PatchError::Malformed("the result does not fit in memory"))?;
        for step in steps {
            stored.push_str(match step {
                Step::Insert(text) => text,
                Step::Copy(range) => raw.get(range.clone()).ok_or(PatchError::Malformed(
                    "a range begins or ends inside a character",
                ))?,
            });
        }
        Ok(stored)
    }
}

/// A part of the new definitions that probably occurs in the old ones too.
struct Chunk<'a> {
    /// Where it is in the definitions' own members.
    range: Range<usize>,
    origin: Origin<'a>,
}

/// Where the old definitions may have a chunk.
enum Origin<'a> {
    /// In a flag: the position of the new one, and the key.
    Flag(u32, &'a str),
    /// In the value of the member with this name.
    Member(&'a str),
    /// In this range, which is the same.
    Same(Range<usize>),
}

/// The chunks in the order of the text.
fn chunks<'a>(new: &'a DefinitionsIndex, old: &DefinitionsIndex) -> Vec<Chunk<'a>> {
    let text = new.text();
    let same = same_members(new, old);
    let mut chunks: Vec<_> = (0..)
        .zip(new.flags())
        .map(|(position, flag)| Chunk {
            range: new.flag_range(position as usize),
            origin: Origin::Flag(position, flag.key.of(text)),
        })
        .collect();
    for (at, member) in new.members().iter().enumerate() {
        let name = member.name.of(text);
        if let Some(range) = new.member_range(at)
            && name != "flags"
            && !same.iter().any(|same| same.range.contains(&range.start))
        {
            let origin = Origin::Member(name);
            chunks.push(Chunk { range, origin });
        }
    }
    chunks.extend(same);
    chunks.sort_by_key(|chunk| chunk.range.start);
    chunks
}

/// The members before and after the list of flags, where all of them are the same in both.
fn same_members<'a>(new: &DefinitionsIndex, old: &DefinitionsIndex) -> Vec<Chunk<'a>> {
    let (Some(new_sections), Some(old_sections)) = (Sections::of(new), Sections::of(old)) else {
        return Vec::new();
    };
    let in_raw = |definitions: &DefinitionsIndex, range: &Range<usize>| {
        let start = definitions.raw_range().start;
        range.start - start..range.end - start
    };
    [
        (new_sections.before, old_sections.before),
        (new_sections.after, old_sections.after),
    ]
    .into_iter()
    .filter(|(range, old_range)| {
        new.text().slice(range.clone()) == old.text().slice(old_range.clone())
    })
    .map(|(range, old_range)| Chunk {
        range: in_raw(new, &range),
        origin: Origin::Same(in_raw(old, &old_range)),
    })
    .collect()
}

/// Insert these bytes, then copy that range of the old definitions.
struct Instruction<'a> {
    insert: &'a [u8],
    copy: Range<usize>,
}

/// Writes instructions for a text that is appended in order.
struct Writer<'a> {
    old: &'a str,
    instructions: Vec<u8>,
    /// What to insert before the range.
    inserted: Vec<u8>,
    /// The range that is being extended.
    copied: Range<usize>,
    max_len: usize,
}

impl Writer<'_> {
    /// Appends `text`: copied if the old definitions have it where the last range ends, or where `find` says.
    /// `None` if the result is too long.
    fn append(
        &mut self,
        text: &str,
        find: Option<&dyn Fn() -> Option<Range<usize>>>,
    ) -> Option<()> {
        if self.extends(text) {
            return Some(());
        }
        match find.and_then(|find| find()) {
            Some(range) => {
                let old = &self.old[range.clone()];
                let prefix = common_prefix(old, text);
                let suffix = common_suffix(&old[prefix..], &text[prefix..]);
                self.copy(range.start..range.start + prefix);
                self.insert(&text[prefix..text.len() - suffix]);
                self.copy(range.end - suffix..range.end);
            }
            None => self.insert(text),
        }
        (self.instructions.len() + self.inserted.len() <= self.max_len).then_some(())
    }

    /// Extends the last range by `text`, if that is what follows there.
    fn extends(&mut self, text: &str) -> bool {
        let follows = !self.copied.is_empty() && self.old[self.copied.end..].starts_with(text);
        if follows {
            self.copied.end += text.len();
        }
        follows
    }

    fn copy(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if !self.copied.is_empty() && self.copied.end == range.start {
            self.copied.end = range.end;
        } else if range.len() < MIN_COPY {
            self.insert(&self.old[range]);
        } else {
            if !self.copied.is_empty() {
                self.flush();
            }
            self.copied = range;
        }
    }

    fn insert(&mut self, text: &str) {
        if !self.copied.is_empty() && !text.is_empty() {
            self.flush();
        }
        self.inserted.extend_from_slice(text.as_bytes());
    }

    /// Writes an instruction.
    fn flush(&mut self) {
        if self.inserted.is_empty() && self.copied.is_empty() {
            return;
        }
        let Range { start, end } = std::mem::take(&mut self.copied);
        write_number(&mut self.instructions, self.inserted.len());
        self.instructions.append(&mut self.inserted);
        write_number(&mut self.instructions, start);
        write_number(&mut self.instructions, end - start);
    }
}

/// The length of the characters that both begin with.
fn common_prefix(a: &str, b: &str) -> usize {
    let len = common_len(a.bytes(), b.bytes());
    (0..=len)
        .rev()
        .find(|len| a.is_char_boundary(*len) && b.is_char_boundary(*len))
        .unwrap_or_default()
}

/// The length of the characters that both end with.
fn common_suffix(a: &str, b: &str) -> usize {
    let len = common_len(a.bytes().rev(), b.bytes().rev());
    let is_boundary = |text: &str, len: usize| text.is_char_boundary(text.len() - len);
    (0..=len)
        .rev()
        .find(|len| is_boundary(a, *len) && is_boundary(b, *len))
        .unwrap_or_default()
}

fn common_len(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// Seven bits per byte, the lowest first; the highest bit means that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], PatchError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(PatchError::Malformed("it is truncated"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn fingerprint(&mut self) -> Result<ContentFingerprint, PatchError> {
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(self.bytes(8)?);
        Ok(ContentFingerprint::from_u64(u64::from_le_bytes(
            fingerprint,
        )))
    }

    /// A number of at most [`MAX_LEN`].
    fn number(&mut self) -> Result<usize, PatchError> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number)
                    .ok()
                    .filter(|number| *number <= MAX_LEN)
                    .ok_or(PatchError::Malformed("a number is too large"));
            }
        }
        Err(PatchError::Malformed("a number is too large"))
    }

    fn instruction(&mut self) -> Result<Option<Instruction<'a>>, PatchError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let insert = self.number()?;
        let insert = self.bytes(insert)?;
        let (start, len) = (self.number()?, self.number()?);
        let end = start
            .checked_add(len)
            .ok_or(PatchError::Malformed("a number is too large"))?;
        Ok(Some(Instruction {
            insert,
            copy: start..end,
        }))
    }
}
