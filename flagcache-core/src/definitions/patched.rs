//! Applies the steps of a [`Patch`](super::patch::Patch): the result shares the unchanged text, and the index of the
//! unchanged flags, with the older definitions.
//!
//! The envelope and the text between shared runs of flags are scanned. If anything but the envelope and flags changed,
//! [`patch`] returns `None`; the caller then writes the whole text and leaves it to [`incremental`](super::incremental).

use std::ops::Range;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::incremental::{Sections, skip_whitespace};
use crate::definitions::index::{self, DefinitionsIndex, FlagChanges, Known, Layout};
use crate::definitions::piece_table::{Builder, PieceTable};
use crate::definitions::scan::{self, FlagEntry, Scan, Span, SpanText};
use crate::definitions::stored_form::{Envelope, Metadata};

/// The minimum length of a run of unchanged flags that is shared, in bytes. Shorter runs are copied, which limits the number
/// of pieces.
const MIN_SHARED: usize = if cfg!(test) { 1 } else { 64 };

/// A step of a patch.
pub(crate) enum Step<'a> {
    Insert(&'a str),
    /// A range of the older definitions' own members.
    Copy(Range<usize>),
}

impl Step<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Insert(text) => text.len(),
            Self::Copy(range) => range.len(),
        }
    }
}

/// Patched definitions.
pub(crate) struct Patched {
    pub(crate) text: PieceTable,
    pub(crate) scan: Scan,
    pub(crate) metadata: Metadata,
    pub(crate) known: Known,
}

/// The definitions that result from these steps, in the stored form. `None` if they cannot share their text with the older
/// ones, or are not valid.
pub(crate) fn patch(old: &DefinitionsIndex, steps: &[Step<'_>]) -> Option<Patched> {
    let sections = Sections::of(old)?;
    let mut patcher = Patcher {
        old,
        before: contiguous(old, sections.before)?,
        after: contiguous(old, sections.after)?,
        text: Builder::new(old.text(), steps.iter().map(Step::len).sum())?,
        flags: Vec::with_capacity(old.flags().len() + 1),
        scanned: Vec::new(),
        has_same_keys: true,
        state: State::Start,
        head: None,
        list: 0..0,
    };
    for step in steps {
        match step {
            Step::Insert(text) => patcher.text.copy(text),
            Step::Copy(range) => patcher.copy(range)?,
        }
    }
    patcher.finish(sections.list_at)
}

/// The addresses of a range; `None` if it is in several pieces.
fn contiguous(old: &DefinitionsIndex, range: Range<usize>) -> Option<Span> {
    let mut spans = old.text().spans(range);
    let span = spans.next().unwrap_or(Span::new(0, 0));
    spans.next().is_none().then_some(span)
}

/// What the text that was scanned or shared so far ends with.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Start,
    /// The envelope, and the comma after it.
    BeforeMembers,
    /// The members before the list.
    BeforeList,
    /// The opening bracket of the list, or a comma in it.
    BeforeFlag,
    AfterFlag,
    /// The closing bracket of the list.
    AfterList,
    /// The members after the list.
    AfterMembers,
}

struct Patcher<'a> {
    old: &'a DefinitionsIndex,
    /// Where the older text has the members before and after the list.
    before: Span,
    after: Span,
    text: Builder,
    flags: Vec<FlagEntry>,
    /// The positions of the flags that were scanned.
    scanned: Vec<u32>,
    /// Whether the flags have the same keys in the same order as the older ones.
    has_same_keys: bool,
    state: State,
    /// The envelope, and where the definitions' own members begin.
    head: Option<(Envelope, usize)>,
    /// Where the list is.
    list: Range<usize>,
}

impl Patcher<'_> {
    /// Appends a range of the older definitions' own members.
    fn copy(&mut self, range: &Range<usize>) -> Option<()> {
        let old = self.old;
        let raw = old.raw_range();
        let range = raw.start + range.start..raw.start + range.end;
        for (mut rest, of_piece) in old.text().parts(range, old.flags().len()) {
            // A range of the patch may begin or end inside a character.
            old.text().get(rest)?;
            let (before, after) = (self.before, self.after);
            if self.state == State::Start
                && before.len() >= MIN_SHARED
                && rest.start() <= before.start()
                && before.end() <= rest.end()
            {
                self.add(Span::new(rest.start(), before.start()));
                self.share_members(before, State::BeforeMembers, State::BeforeList)?;
                rest = Span::new(before.end(), rest.end());
            }
            let flags = &old.flags()[of_piece.clone()];
            let run = scan::flags_in(rest, flags);
            if let ([first, ..], [.., last]) = (&flags[run.clone()], &flags[run.clone()]) {
                let shared = Span::new(first.json.start(), last.json.end());
                if shared.len() >= MIN_SHARED {
                    self.add(Span::new(rest.start(), shared.start()));
                    self.share_flags(shared, of_piece.start + run.start..of_piece.start + run.end)?;
                    rest = Span::new(shared.end(), rest.end());
                }
            }
            if after.len() > 0 && rest.start() <= after.start() && rest.end() == after.end() {
                self.add(Span::new(rest.start(), after.start()));
                self.share_members(after, State::AfterList, State::AfterMembers)?;
            } else {
                self.add(rest);
            }
        }
        Some(())
    }

    fn add(&mut self, span: Span) {
        self.text.copy(self.old.text().slice_of(span));
    }

    fn share_flags(&mut self, span: Span, flags: Range<usize>) -> Option<()> {
        self.scan_and_flush()?;
        if self.state != State::BeforeFlag {
            return None;
        }
        self.has_same_keys &= flags.start == self.flags.len();
        self.text.share(span, self.flags.len());
        self.flags.extend_from_slice(&self.old.flags()[flags]);
        self.state = State::AfterFlag;
        Some(())
    }

    /// Shares the members before or after the list. `None` if the pending text ends otherwise than in the state `from`.
    fn share_members(&mut self, span: Span, from: State, to: State) -> Option<()> {
        if self.scan_and_flush()? > 0 || self.state != from {
            return None;
        }
        self.text.share(span, self.flags.len());
        self.state = to;
        Some(())
    }

    fn scan_and_flush(&mut self) -> Option<usize> {
        let flags_before = self.flags.len();
        let rest = self.scan()?;
        self.text.flush(flags_before);
        Some(rest)
    }

    /// Scans the pending text. Returns the length of what follows the list, which is not scanned.
    fn scan(&mut self) -> Option<usize> {
        let (pending, address) = (self.text.pending(), self.text.pending_address());
        let offset = self.text.len();
        let bytes = pending.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Start => {
                    let (envelope, end) = Envelope::at_the_start_of(pending)?;
                    if bytes.get(end) != Some(&b',') {
                        return None;
                    }
                    at = end + 1;
                    self.head = Some((envelope, at));
                    self.state = State::BeforeMembers;
                }
                State::BeforeMembers => {
                    let before = self.old.text().slice_of(self.before);
                    pending[at..].strip_prefix(before)?;
                    at += before.len();
                    self.state = State::BeforeList;
                }
                State::BeforeList => {
                    if bytes[at] != b'[' {
                        return None;
                    }
                    self.list.start = offset + at;
                    at = skip_whitespace(bytes, at + 1);
                    self.state = State::BeforeFlag;
                }
                State::BeforeFlag => {
                    let flag = scan::flag_at(pending, at)?;
                    at = flag.json.end();
                    let position = self.flags.len();
                    let old = self.old.flags().get(position);
                    self.has_same_keys &=
                        old.is_some_and(|old| old.key.of(self.old.text()) == flag.key.of(pending));
                    self.scanned.push(position as u32);
                    self.flags.push(flag.moved(address + flag.json.start()));
                    self.state = State::AfterFlag;
                }
                State::AfterFlag => {
                    at = skip_whitespace(bytes, at);
                    match bytes.get(at)? {
                        b',' => {
                            at = skip_whitespace(bytes, at + 1);
                            self.state = State::BeforeFlag;
                        }
                        b']' => {
                            at += 1;
                            self.list.end = offset + at;
                            self.state = State::AfterList;
                        }
                        _ => return None,
                    }
                }
                State::AfterList | State::AfterMembers => break,
            }
        }
        Some(bytes.len() - at)
    }

    fn finish(mut self, list_at: usize) -> Option<Patched> {
        let flags_before = self.flags.len();
        let rest = self.scan()?;
        let pending = self.text.pending();
        let rest = pending[pending.len() - rest..].strip_suffix('}')?;
        let (raw_end, tail) = match self.state {
            State::AfterMembers => (self.text.len(), rest),
            State::AfterList => {
                let after = self.old.text().slice_of(self.after);
                (self.list.end + after.len(), rest.strip_prefix(after)?)
            }
            _ => return None,
        };
        let tail = tail.to_owned();
        self.text.flush(flags_before);
        let text = self.text.finish();
        if !cfg!(test) && !text.is_compact() {
            return None;
        }
        let (envelope, raw_start) = self.head?;
        let raw = raw_start..raw_end;
        let aliases = index::aliases(self.old.text(), self.old.members());
        let (metadata, fingerprint) = envelope.verify(raw.len(), &tail, &aliases, || {
            ContentFingerprint::of(&text, text.flags_in(raw.clone(), &self.flags))
        })?;
        let has_same_keys = self.has_same_keys && self.flags.len() == self.old.flags().len();
        self.flags.shrink_to_fit();
        Some(Patched {
            text,
            scan: Scan {
                // At their old addresses, as their text is the same.
                members: self.old.members().to_vec(),
                flags: self.flags,
            },
            metadata,
            known: Known {
                fingerprint: Some(fingerprint),
                by_key: has_same_keys.then(|| self.old.by_key().clone()),
                changes: has_same_keys.then(|| FlagChanges {
                    from: self.old.content(),
                    flags: self.scanned,
                }),
                layout: Some(Layout {
                    raw,
                    list: self.list,
                    list_at,
                }),
            },
        })
    }
}
