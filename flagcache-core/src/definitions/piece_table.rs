//! [`PieceTable`]: a text that shares what is unchanged with the older text that it was made from.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::definitions::scan::{self, FlagEntry, MAX_LEN, Ranges, Span};

/// At most this fraction of the first buffer is added to it.
const MOST_ADDED: usize = 8;

/// At most this fraction of the first buffer is unused.
const MOST_UNUSED: usize = 2;

const MOST_PIECES: usize = 1024;

/// A text: one buffer, or pieces of an older text's buffer and of a second buffer with what was added.
///
/// Spans are addresses, which keep their meaning in each text that was made from this one: those from the end of the first
/// buffer on refer to the second. In a text that is one buffer, addresses and offsets are the same.
#[derive(Clone)]
pub(crate) struct PieceTable {
    base: Arc<String>,
    added: String,
    pieces: Vec<Piece>,
}

/// A piece of a text.
#[derive(Clone, Copy)]
struct Piece {
    /// Where it begins in the text.
    offset: usize,
    /// Where its content is.
    span: Span,
    /// How many flags begin before it. Each flag is in one piece.
    flags_before: usize,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.span.len()
    }
}

/// Part of a [`PieceTable`], all in one piece.
pub(crate) struct Part {
    pub(crate) span: Span,
    /// Which flags are in its piece, by their positions. They are in ascending order there.
    pub(crate) flags: Range<usize>,
}

impl PieceTable {
    /// The length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, Piece::end)
    }

    /// The text, if it is one buffer.
    pub(crate) fn buffer(&self) -> Option<&Arc<String>> {
        (self.added.is_empty() && self.pieces.len() == 1).then_some(&self.base)
    }

    /// Whether this takes little more memory than one buffer.
    pub(crate) fn is_worthwhile(&self) -> bool {
        let base = self.base.len();
        self.added.len() <= base / MOST_ADDED
            && self.len() >= base - base / MOST_UNUSED
            && self.pieces.len() <= MOST_PIECES
    }

    /// The parts that a range of the text consists of. `flags` is the number of flags in the text.
    pub(crate) fn parts(&self, range: Range<usize>, flags: usize) -> impl Iterator<Item = Part> {
        let first = self
            .pieces
            .partition_point(|piece| piece.end() <= range.start);
        let end = self
            .pieces
            .partition_point(|piece| piece.offset < range.end);
        (first..end).map(move |at| {
            let piece = &self.pieces[at];
            let within = |offset: usize| piece.span.start() + (offset - piece.offset);
            let next = self.pieces.get(at + 1);
            Part {
                span: Span::new(
                    within(range.start.max(piece.offset)),
                    within(range.end.min(piece.end())),
                ),
                flags: piece.flags_before..next.map_or(flags, |next| next.flags_before),
            }
        })
    }

    /// The parts that a range of the text consists of, each with those of the text's flags that are in it.
    pub(crate) fn flags_in<'a>(
        &self,
        range: Range<usize>,
        flags: &'a [FlagEntry],
    ) -> impl Iterator<Item = (Span, &'a [FlagEntry])> {
        let parts = self.parts(range, flags.len());
        parts.map(|part| (part.span, scan::flags_in(part.span, &flags[part.flags])))
    }

    /// A range of the text, part by part.
    pub(crate) fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &str> {
        self.parts(range, 0).map(|part| self.part(part.span))
    }

    /// A range of the text. Copies it if it is not all in one piece.
    pub(crate) fn slice(&self, range: Range<usize>) -> Cow<'_, str> {
        let mut slices = self.slices(range);
        let first = slices.next().unwrap_or_default();
        match slices.next() {
            None => Cow::Borrowed(first),
            Some(second) => {
                let mut text = [first, second].concat();
                text.extend(slices);
                Cow::Owned(text)
            }
        }
    }

    /// The part of the text with these addresses; `None` if they are inside a character.
    pub(crate) fn part_at_boundaries(&self, span: Span) -> Option<&str> {
        let (buffer, start) = self.buffer_of(span);
        buffer.get(start..start + span.len())
    }

    /// The offset of a span; `None` if no piece has it.
    pub(crate) fn offset_of(&self, span: Span) -> Option<usize> {
        let has_it =
            |piece: &&Piece| piece.span.start() <= span.start() && span.end() <= piece.span.end();
        let piece = self.pieces.iter().find(has_it)?;
        Some(piece.offset + (span.start() - piece.span.start()))
    }

    /// The offset of the flag at this position, whose span this is.
    pub(crate) fn offset_of_flag(&self, position: usize, span: Span) -> usize {
        let after = self
            .pieces
            .partition_point(|piece| piece.flags_before <= position);
        let piece = &self.pieces[after - 1];
        piece.offset + (span.start() - piece.span.start())
    }

    fn buffer_of(&self, span: Span) -> (&str, usize) {
        match span.start().checked_sub(self.base.len()) {
            // An empty range at the end of the first buffer is an empty range in either.
            Some(start) => (&self.added, start),
            None => (&self.base, span.start()),
        }
    }
}

impl From<String> for PieceTable {
    fn from(text: String) -> Self {
        Self {
            pieces: vec![Piece {
                offset: 0,
                span: Span::new(0, text.len()),
                flags_before: 0,
            }],
            base: Arc::new(text),
            added: String::new(),
        }
    }
}

impl Ranges for PieceTable {
    fn part(&self, span: Span) -> &str {
        let (buffer, start) = self.buffer_of(span);
        &buffer[start..start + span.len()]
    }
}

/// Writes a text that shares the buffers of an older one.
pub(crate) struct Writer {
    text: PieceTable,
    offset: usize,
    /// Where the text that was added since the last piece begins in the second buffer.
    gap: usize,
}

impl Writer {
    /// A writer of a text of at most `len` bytes. `None` if it would need more addresses than there are.
    pub(crate) fn new(old: &PieceTable, len: usize) -> Option<Self> {
        let addresses = old.base.len() + old.added.len();
        if addresses.checked_add(len)? > MAX_LEN {
            return None;
        }
        Some(Self {
            gap: old.added.len(),
            text: PieceTable {
                base: Arc::clone(&old.base),
                added: old.added.clone(),
                pieces: Vec::with_capacity(old.pieces.len() + 2),
            },
            offset: 0,
        })
    }

    /// Appends a copy of this text.
    pub(crate) fn add(&mut self, text: &str) {
        self.text.added.push_str(text);
    }

    /// What was added since the last piece.
    pub(crate) fn gap(&self) -> &str {
        &self.text.added[self.gap..]
    }

    /// The address of [`gap`](Self::gap).
    pub(crate) fn gap_address(&self) -> usize {
        self.text.base.len() + self.gap
    }

    /// The length of the text without the gap.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Makes a piece of what was added. `flags_before` flags begin before it.
    pub(crate) fn end_gap(&mut self, flags_before: usize) {
        let start = self.gap_address();
        let end = self.text.base.len() + self.text.added.len();
        self.gap = self.text.added.len();
        self.share(Span::new(start, end), flags_before);
    }

    /// Appends a part of the older text. There must be no gap.
    pub(crate) fn share(&mut self, span: Span, flags_before: usize) {
        if span.len() > 0 {
            self.text.pieces.push(Piece {
                offset: self.offset,
                span,
                flags_before,
            });
            self.offset += span.len();
        }
    }

    pub(crate) fn finish(self) -> PieceTable {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(base: usize, parts: &[Result<Range<usize>, usize>]) -> PieceTable {
        let base = PieceTable::from("é".repeat(base / 2));
        let mut writer = Writer::new(&base, usize::from(u16::MAX)).unwrap();
        for part in parts {
            match part {
                Ok(shared) => writer.share(Span::new(shared.start, shared.end), 0),
                Err(added) => {
                    writer.add(&"x".repeat(*added));
                    writer.end_gap(0);
                }
            }
        }
        writer.finish()
    }

    #[test]
    fn a_range_is_copied_only_if_it_is_in_several_pieces() {
        let text = written(100, &[Ok(0..40), Err(2), Ok(60..100)]);
        let whole = ["é".repeat(20), "xx".to_owned(), "é".repeat(20)].concat();
        assert_eq!((text.len(), text.slice(0..82)), (82, Cow::from(&whole)));
        assert!(text.buffer().is_none());
        for (range, is_copied) in [
            (0..40, false),
            (10..42, true),
            (40..42, false),
            (42..82, false),
        ] {
            let slice = text.slice(range.clone());
            assert_eq!(slice, whole[range.clone()]);
            assert_eq!(matches!(slice, Cow::Owned(_)), is_copied, "{range:?}");
        }
        assert_eq!(text.slice(40..40), "");
        assert_eq!(text.part_at_boundaries(Span::new(1, 4)), None);
        assert_eq!(text.offset_of(Span::new(62, 64)), Some(44));
        assert_eq!(text.offset_of(Span::new(50, 52)), None);
        assert!(Writer::new(&text, MAX_LEN).is_none());
    }

    #[test]
    fn a_text_is_in_pieces_while_that_takes_little_more_memory() {
        assert!(written(8_000, &[Ok(0..6_000), Err(1_000)]).is_worthwhile());
        assert!(!written(8_000, &[Ok(0..6_000), Err(1_001)]).is_worthwhile());
        assert!(!written(8_000, &[Ok(0..3_000), Err(900)]).is_worthwhile());
        assert!(!written(8_000, &vec![Ok(0..8); 1025]).is_worthwhile());
    }
}
