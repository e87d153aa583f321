//! Reads a stored copy block by block, and compares it with older definitions, whose text the result shares.
//!
//! Finds one range that differs, between a common beginning and a common end. So the text is never in memory as a whole.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::definitions::index::DefinitionsIndex;
use crate::definitions::patched::Step;
use crate::definitions::stored_form::Envelope;

/// How much is read and compared at once, so that it stays in the processor's cache.
const BLOCK: usize = 128 * 1024;

/// A longer envelope is not looked for.
const MAX_ENVELOPE: usize = 4096;

/// A shorter copy is read whole.
const MIN_LEN: usize = if cfg!(test) { 1 } else { 16 * 1024 };

/// At most this fraction of the copy may differ.
const MAX_CHANGED_DIVISOR: usize = 4;

/// A stored copy that has much in common with older definitions.
pub(crate) struct Compared {
    /// The envelope, and the comma after it.
    head: String,
    /// The range of the older definitions' own members that both begin with.
    beginning: Range<usize>,
    changed: String,
    /// The range that both end with.
    end: Range<usize>,
    /// What follows the definitions' own members.
    tail: String,
}

impl Compared {
    /// The steps from the older definitions to the stored copy.
    pub(crate) fn steps(&self) -> Vec<Step<'_>> {
        let steps = [
            Step::Insert(&self.head),
            Step::Copy(self.beginning.clone()),
            Step::Insert(&self.changed),
            Step::Copy(self.end.clone()),
            Step::Insert(&self.tail),
        ];
        steps.into_iter().filter(|step| step.len() > 0).collect()
    }
}

/// Compares a stored copy with older definitions. `None` if it is not in the stored form, differs too much, is not UTF-8, or
/// becomes shorter meanwhile.
///
/// # Errors
///
/// Those of the reader.
pub(crate) fn compare(
    reader: &mut (impl Read + Seek),
    old: &DefinitionsIndex,
) -> io::Result<Option<Compared>> {
    match try_compare(reader, old) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        result => result,
    }
}

fn try_compare(
    reader: &mut (impl Read + Seek),
    old: &DefinitionsIndex,
) -> io::Result<Option<Compared>> {
    let Ok(len) = usize::try_from(reader.seek(SeekFrom::End(0))?) else {
        return Ok(None);
    };
    if len < MIN_LEN {
        return Ok(None);
    }
    let mut block = vec![0; BLOCK];
    let start = &mut block[..len.min(MAX_ENVELOPE)];
    read_at(reader, 0, start)?;
    let Some((head, members_len)) = head(start) else {
        return Ok(None);
    };
    let start = head.len();
    let Some(end) = start.checked_add(members_len).filter(|end| *end <= len) else {
        return Ok(None);
    };
    let max_changed = len / MAX_CHANGED_DIVISOR;

    let old_text = old.text();
    let old_range = old.raw_range();
    let old_slices: Vec<&[u8]> = old_text
        .slices(old_range.clone())
        .map(str::as_bytes)
        .collect();
    let mut common = 0;
    reader.seek(SeekFrom::Start(start as u64))?;
    for old in old_slices.iter().flat_map(|slice| slice.chunks(BLOCK)) {
        let new = &mut block[..old.len().min(members_len - common)];
        reader.read_exact(new)?;
        let same = common_len(new.iter(), old.iter(), new == &old[..new.len()]);
        common += same;
        if same < old.len() {
            break;
        }
    }
    while !old_text.is_char_boundary(old_range.start + common) {
        common -= 1;
    }
    let beginning = 0..common;

    let max_common = members_len.min(old_range.len()) - common;
    let mut common = 0;
    for old in old_slices
        .iter()
        .rev()
        .flat_map(|slice| slice.rchunks(BLOCK))
    {
        let new = &mut block[..old.len().min(max_common - common)];
        read_at(reader, end - common - new.len(), new)?;
        let is_same = new == &old[old.len() - new.len()..];
        let same = common_len(new.iter().rev(), old.iter().rev(), is_same);
        common += same;
        if same < old.len() {
            break;
        }
    }
    while !old_text.is_char_boundary(old_range.end - common) {
        common -= 1;
    }
    let (changed, tail) = (start + beginning.end..end - common, end..len);
    if changed.len() > max_changed || tail.len() > max_changed {
        return Ok(None);
    }
    let mut text = |range: Range<usize>| -> io::Result<Option<String>> {
        let mut text = vec![0; range.len()];
        read_at(reader, range.start, &mut text)?;
        Ok(String::from_utf8(text).ok())
    };
    let (changed, tail) = (text(changed)?, text(tail)?);
    Ok(changed.zip(tail).map(|(changed, tail)| Compared {
        head,
        beginning,
        changed,
        end: old_range.len() - common..old_range.len(),
        tail,
    }))
}

fn read_at(reader: &mut (impl Read + Seek), at: usize, bytes: &mut [u8]) -> io::Result<()> {
    reader.seek(SeekFrom::Start(at as u64))?;
    reader.read_exact(bytes)
}

/// The envelope and the comma after it, and the length of the definitions' own members.
fn head(start: &[u8]) -> Option<(String, usize)> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
    };
    let (envelope, end) = Envelope::at_the_start_of(text)?;
    let head = text.get(..=end).filter(|head| head.ends_with(','))?;
    Some((head.to_owned(), envelope.length()))
}

/// The number of bytes that both begin with. `is_same` if that is all of the shorter one.
fn common_len<'a>(
    new: impl ExactSizeIterator<Item = &'a u8>,
    old: impl Iterator<Item = &'a u8>,
    is_same: bool,
) -> usize {
    if is_same {
        return new.len();
    }
    new.zip(old).take_while(|(new, old)| new == old).count()
}
