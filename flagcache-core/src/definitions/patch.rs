//! [`Patch`]: turns one snapshot into another that differs from it in a few flags.

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::incremental::Patched;
use crate::definitions::index::Content;
use crate::definitions::scan::MAX_LEN;
use crate::definitions::snapshot::off_thread;
use crate::{DataError, FlagDefinitionCacheData};

/// The first bytes of an encoded patch. The digit is the version of the format.
const MAGIC: &[u8] = b"fcp1";

/// A patch is worthwhile if it is at most this fraction of the new stored copy.
const FRACTION: usize = 4;

/// How many bytes are copied before they are hashed. Must be longer than a character.
const BLOCK: usize = 128 * 1024;

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
        let (raw, [head, tail]) = (new.raw(), new.around());
        let stored_len = head.len() + raw.len() + tail.len();
        let mut writer = Writer {
            old: old.raw(),
            instructions: Vec::new(),
            inserted: head.as_bytes().to_vec(),
            copied: 0..0,
            max_len: stored_len / FRACTION,
        };
        let mut at = 0;
        let changed = new.index().changed_since(old.index());
        for piece in pieces(new) {
            let start = offset(raw, piece.text);
            writer.append(&raw[at..start], None)?;
            match piece.kind {
                PieceKind::Flag(position, _)
                    if changed.is_some_and(|changed| changed.binary_search(&position).is_err()) =>
                {
                    writer.copy(range(old.raw(), old.flag_at(position as usize).json()));
                }
                _ => writer.append(piece.text, Some(&|| piece.in_old(old)))?,
            }
            at = start + piece.text.len();
        }
        writer.append(&raw[at..], None)?;
        writer.insert(&tail);
        writer.flush();

        let (from, to) = (old.index().content(), new.index().content());
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
        (patch.encoded.len() <= stored_len / FRACTION).then_some(patch)
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

    /// The new snapshot, if `old` has the content that the patch was made from, whatever its metadata.
    ///
    /// # Errors
    ///
    /// If `old` has other content, or the result is not what the patch promises.
    pub fn apply(
        &self,
        old: &FlagDefinitionCacheData,
    ) -> Result<FlagDefinitionCacheData, PatchError> {
        apply(std::slice::from_ref(self), old)
    }

    /// Applies several patches, each to the result of the one before, and checks the last result. For async code: large
    /// definitions (more than 256 KiB) are patched on tokio's blocking pool. Without patches, returns `old`.
    ///
    /// Cancel safe: a dropped call finishes in the background and its result is discarded.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply), for any of the patches.
    pub async fn apply_all(
        patches: Vec<Self>,
        old: &FlagDefinitionCacheData,
    ) -> Result<FlagDefinitionCacheData, PatchError> {
        let old = old.clone();
        let len = patches.last().map_or(0, |last| last.stored_len);
        off_thread(len, move || apply(&patches, &old)).await
    }

    /// The stored copy that results from `raw`, which has the length of `from`, and what is known about it.
    fn stored(&self, raw: &str) -> Result<(String, Patched), PatchError> {
        let (mut stored, mut copied) = (String::new(), Vec::new());
        let mut fingerprint = PartFingerprint::new(self.start..self.start + self.to.len);
        // `decode` bounds it by the lengths of the old definitions and of the patch together.
        stored
            .try_reserve_exact(self.stored_len)
            .map_err(|_| PatchError::Malformed("the result does not fit in memory"))?;
        let mut reader = Reader {
            rest: &self.encoded[self.instructions..],
        };
        while let Some(Instruction { insert, copy }) = reader.instruction()? {
            let insert = std::str::from_utf8(insert)
                .map_err(|_| PatchError::Malformed("it is not UTF-8"))?;
            stored.push_str(insert);
            copied.push((stored.len(), copy.clone()));
            let mut rest = raw.get(copy).ok_or(PatchError::Malformed(
                "a range begins or ends inside a character",
            ))?;
            // Each block is hashed while it is in the processor's cache.
            while !rest.is_empty() {
                let block;
                (block, rest) = rest.split_at(block_len(rest));
                stored.push_str(block);
                fingerprint.update(&stored);
            }
        }
        fingerprint.update(&stored);
        let patched = Patched {
            copied,
            fingerprint: Some(fingerprint.finish()),
        };
        Ok((stored, patched))
    }
}

fn apply(
    patches: &[Patch],
    old: &FlagDefinitionCacheData,
) -> Result<FlagDefinitionCacheData, PatchError> {
    let [first, rest @ ..] = patches else {
        return Ok(old.clone());
    };
    if first.from != old.index().content() {
        return Err(PatchError::OtherOrigin);
    }
    let mut last = first;
    let (mut stored, mut patched) = first.stored(old.raw())?;
    for next in rest {
        let raw = stored.get(last.start..last.start + last.to.len);
        // The fingerprint of the last result covers those between.
        if next.from != last.to {
            return Err(PatchError::OtherOrigin);
        }
        (stored, patched) = next.stored(raw.ok_or(PatchError::OtherResult)?)?;
        // Those are ranges of the result between, not of the old definitions.
        patched.copied.clear();
        last = next;
    }
    let data = FlagDefinitionCacheData::of_text_after(stored, Some(old), &patched)?;
    // A result without a valid envelope has no metadata.
    // The fingerprint was computed for the range that the patch names.
    let is_there = data.index().raw_span().start() == last.start;
    if data.is_stored_form() && is_there && data.index().content() == last.to {
        Ok(data)
    } else {
        Err(PatchError::OtherResult)
    }
}

/// The length of the block that a text begins with: at most [`BLOCK`], and whole characters.
fn block_len(text: &str) -> usize {
    (0..=text.len().min(BLOCK))
        .rev()
        .find(|len| text.is_char_boundary(*len))
        .unwrap_or_default()
}

/// Computes the fingerprint of a range of a text while the text is written.
struct PartFingerprint {
    rest: Range<usize>,
    hasher: Xxh3,
}

impl PartFingerprint {
    fn new(range: Range<usize>) -> Self {
        Self {
            rest: range,
            hasher: Xxh3::new(),
        }
    }

    /// Includes what has been written of the range.
    fn update(&mut self, text: &str) {
        let end = text.len().min(self.rest.end);
        if let Some(new) = text.as_bytes().get(self.rest.start..end) {
            self.hasher.update(new);
            self.rest.start = end;
        }
    }

    fn finish(self) -> ContentFingerprint {
        ContentFingerprint::from_u64(self.hasher.digest())
    }
}

/// A part of the new definitions that probably occurs in the old ones too.
struct Piece<'a> {
    kind: PieceKind<'a>,
    text: &'a str,
}

enum PieceKind<'a> {
    /// A flag: its position among the flags, and its key.
    Flag(u32, &'a str),
    /// The value of another member, with its name.
    Member(&'a str),
}

impl Piece<'_> {
    /// The corresponding range of the old definitions.
    fn in_old(&self, old: &FlagDefinitionCacheData) -> Option<Range<usize>> {
        let text = match self.kind {
            PieceKind::Flag(_, key) => old.flag(key)?.json(),
            PieceKind::Member(name) => old.member(name)?.as_str(),
        };
        Some(range(old.raw(), text))
    }
}

/// The flags and the values of the other members, in the order of the text.
fn pieces(data: &FlagDefinitionCacheData) -> Vec<Piece<'_>> {
    let raw = data.raw();
    let mut pieces: Vec<_> = data
        .members()
        .filter(|(name, _)| *name != "flags")
        .map(|(name, value)| Piece {
            kind: PieceKind::Member(name),
            text: value.as_str(),
        })
        .chain((0..).zip(data.flags()).map(|(position, flag)| Piece {
            kind: PieceKind::Flag(position, flag.key()),
            text: flag.json(),
        }))
        .collect();
    pieces.sort_by_key(|piece| offset(raw, piece.text));
    pieces
}

/// The position of `part`, which is a part of `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The range of `part`, which is a part of `whole`.
fn range(whole: &str, part: &str) -> Range<usize> {
    let start = offset(whole, part);
    start..start + part.len()
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
