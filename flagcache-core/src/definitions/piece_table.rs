//! [`PieceTable`]: a text that shares unchanged parts with the text that it was derived from.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::definitions::scan::{self, FlagEntry, MAX_LEN, Span, SpanText};

/// The added buffer may be at most 1/8 as long as the original one.
const MAX_ADDED_DIVISOR: usize = 8;

/// The text must be at least half as long as the original buffer.
const MIN_LEN_DIVISOR: usize = 2;

const MAX_PIECES: usize = 1024;

/// A piece table: the text is a sequence of pieces of two buffers, the original one and one that is only appended to.
///
/// A [`Span`] is an *address*: a range of the original buffer followed by the added one. Neither changes what it holds, so
/// an address stays valid in every text derived from this one. An *offset* is a position in the text. In a text of one
/// buffer they are equal.
#[derive(Clone)]
pub(crate) struct PieceTable {
    original: Arc<String>,
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

impl PieceTable {
    /// The length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, Piece::end)
    }

    /// The text, if it is one buffer.
    pub(crate) fn buffer(&self) -> Option<&Arc<String>> {
        (self.added.is_empty() && self.pieces.len() == 1).then_some(&self.original)
    }

    /// Whether the pieces are few, and the buffers hold little that is not in the text. Otherwise one buffer is better.
    pub(crate) fn is_compact(&self) -> bool {
        let original = self.original.len();
        self.added.len() <= original / MAX_ADDED_DIVISOR
            && self.len() >= original / MIN_LEN_DIVISOR
            && self.pieces.len() <= MAX_PIECES
    }

    /// The parts of a range of the text, each in one piece.
    fn parts_in(&self, range: Range<usize>) -> impl Iterator<Item = (usize, Span)> {
        let first = self
            .pieces
            .partition_point(|piece| piece.end() <= range.start);
        let end = self
            .pieces
            .partition_point(|piece| piece.offset < range.end);
        (first..end).map(move |at| {
            let piece = &self.pieces[at];
            let address = |offset: usize| piece.span.start() + (offset - piece.offset);
            let start = address(range.start.max(piece.offset));
            (at, Span::new(start, address(range.end.min(piece.end()))))
        })
    }

    /// The addresses of a range of the text, part by part.
    pub(crate) fn spans(&self, range: Range<usize>) -> impl Iterator<Item = Span> {
        self.parts_in(range).map(|(_, span)| span)
    }

    /// The parts of a range of the text, each with the positions of the flags in its piece. `flags` is the number of flags
    /// in the text.
    pub(crate) fn parts(
        &self,
        range: Range<usize>,
        flags: usize,
    ) -> impl Iterator<Item = (Span, Range<usize>)> {
        self.parts_in(range).map(move |(at, span)| {
            let next = self.pieces.get(at + 1);
            let end = next.map_or(flags, |next| next.flags_before);
            (span, self.pieces[at].flags_before..end)
        })
    }

    /// The parts of a range of the text, each with those of the text's flags that are in it.
    pub(crate) fn flags_in<'a>(
        &self,
        range: Range<usize>,
        flags: &'a [FlagEntry],
    ) -> impl Iterator<Item = (Span, &'a [FlagEntry])> {
        self.parts(range, flags.len()).map(|(span, of_piece)| {
            let flags = &flags[of_piece];
            (span, &flags[scan::flags_in(span, flags)])
        })
    }

    /// A range of the text, part by part.
    pub(crate) fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &str> {
        self.spans(range).map(|span| self.slice_of(span))
    }

    /// A range of the text. Copies it if it is in several pieces.
    pub(crate) fn slice(&self, range: Range<usize>) -> Cow<'_, str> {
        let mut slices = self.slices(range.clone());
        let first = slices.next().unwrap_or_default();
        if first.len() == range.len() {
            return Cow::Borrowed(first);
        }
        let mut text = String::with_capacity(range.len());
        text.push_str(first);
        text.extend(slices);
        Cow::Owned(text)
    }

    /// The text at these addresses; `None` if one of them is inside a character.
    pub(crate) fn get(&self, span: Span) -> Option<&str> {
        let (buffer, start) = self.buffer_of(span);
        buffer.get(start..start + span.len())
    }

    /// Whether a character begins or the text ends at this offset.
    pub(crate) fn is_char_boundary(&self, offset: usize) -> bool {
        let is_boundary = |span: Span| self.get(Span::new(span.start(), span.start())).is_some();
        self.spans(offset..offset + 1)
            .next()
            .is_none_or(is_boundary)
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
        match span.start().checked_sub(self.original.len()) {
            // An empty range at the end of the original buffer is one in the added buffer too.
            Some(start) => (&self.added, start),
            None => (&self.original, span.start()),
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
            original: Arc::new(text),
            added: String::new(),
        }
    }
}

impl SpanText for PieceTable {
    fn slice_of(&self, span: Span) -> &str {
        let (buffer, start) = self.buffer_of(span);
        &buffer[start..start + span.len()]
    }
}

/// Builds a text that shares the buffers of an older one.
pub(crate) struct Builder {
    text: PieceTable,
    /// Where the pending text begins in the added buffer.
    pending: usize,
}

impl Builder {
    /// A builder of a text of at most `len` bytes. `None` if it would need more addresses than there are.
    pub(crate) fn new(old: &PieceTable, len: usize) -> Option<Self> {
        let addresses = old.original.len() + old.added.len();
        if addresses.checked_add(len)? > MAX_LEN {
            return None;
        }
        Some(Self {
            pending: old.added.len(),
            text: PieceTable {
                original: Arc::clone(&old.original),
                added: old.added.clone(),
                pieces: Vec::with_capacity(old.pieces.len() + 2),
            },
        })
    }

    /// Appends a copy of `text` to the pending text.
    pub(crate) fn copy(&mut self, text: &str) {
        self.text.added.push_str(text);
    }

    /// The text that was copied since the last piece.
    pub(crate) fn pending(&self) -> &str {
        &self.text.added[self.pending..]
    }

    /// The address of the pending text.
    pub(crate) fn pending_address(&self) -> usize {
        self.text.original.len() + self.pending
    }

    /// The length of the text without the pending one.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Makes a piece of the pending text. `flags_before` flags begin before it.
    pub(crate) fn flush(&mut self, flags_before: usize) {
        let start = self.pending_address();
        let end = self.text.original.len() + self.text.added.len();
        self.pending = self.text.added.len();
        self.share(Span::new(start, end), flags_before);
    }

    /// Appends a part of the older text. There must be no pending text.
    pub(crate) fn share(&mut self, span: Span, flags_before: usize) {
        debug_assert!(self.pending().is_empty());
        if span.len() > 0 {
            self.text.pieces.push(Piece {
                offset: self.text.len(),
                span,
                flags_before,
            });
        }
    }

    /// The text, without the pending one.
    pub(crate) fn finish(mut self) -> PieceTable {
        self.text.added.shrink_to_fit();
        self.text.pieces.shrink_to_fit();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(original: usize, parts: &[Result<Range<usize>, usize>]) -> PieceTable {
        let original = PieceTable::from("é".repeat(original / 2));
        let mut builder = Builder::new(&original, usize::from(u16::MAX)).unwrap();
        for part in parts {
            match part {
                Ok(shared) => builder.share(Span::new(shared.start, shared.end), 0),
                Err(added) => {
                    builder.copy(&"x".repeat(*added));
                    builder.flush(0);
                }
            }
        }
        builder.finish()
    }

    #[test]
    fn a_range_is_copied_only_if_it_is_in_several_pieces() {
        let text = built(100, &[Ok(0..40), Err(2), Ok(60..100)]);
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
        assert_eq!(text.get(Span::new(1, 4)), None);
        assert_eq!(text.offset_of(Span::new(62, 64)), Some(44));
        assert_eq!(text.offset_of(Span::new(50, 52)), None);
        assert!(Builder::new(&text, MAX_LEN).is_none());
    }

    #[test]
    fn a_text_is_in_pieces_while_that_takes_little_more_memory() {
        assert!(built(8_000, &[Ok(0..6_000), Err(1_000)]).is_compact());
        assert!(!built(8_000, &[Ok(0..6_000), Err(1_001)]).is_compact());
        assert!(!built(8_000, &[Ok(0..3_000), Err(900)]).is_compact());
        assert!(!built(8_000, &vec![Ok(0..8); 1025]).is_compact());
    }
}
