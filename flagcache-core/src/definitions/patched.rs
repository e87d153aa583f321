//! Patches definitions: the result shares the text and the index of what is unchanged.
//!
//! Only what lies between unchanged flags is scanned: the envelope, and the flags that changed. If anything else differs,
//! the patched text is left to [`incremental`](super::incremental).

use std::ops::Range;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::incremental::{Parts, skip_whitespace};
use crate::definitions::index::{self, DefinitionsIndex, FlagChanges, Known, Layout};
use crate::definitions::piece_table::{PieceTable, Writer};
use crate::definitions::scan::{self, FlagEntry, Ranges, Scan, Span};
use crate::definitions::stored_form::{Envelope, Metadata};

/// Fewer bytes of unchanged flags are copied, so that there are not many small pieces.
const MIN_SHARED: usize = if cfg!(test) { 1 } else { 4096 };

/// A step of a patch.
pub(crate) enum Step<'a> {
    Insert(&'a str),
    /// A range of the older definitions' own members.
    Copy(Range<usize>),
}

impl Step<'_> {
    fn len(&self) -> usize {
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
    let parts = Parts::of(old)?;
    let mut patching = Patching {
        before: contiguous(old, parts.before.clone())?,
        after: contiguous(old, parts.after.clone())?,
        old,
        parts,
        text: Writer::new(old.text(), steps.iter().map(Step::len).sum())?,
        flags: Vec::with_capacity(old.flags().len() + 1),
        changed: Vec::new(),
        has_same_keys: true,
        place: Place::Start,
        head: None,
        list: 0..0,
    };
    for step in steps {
        match step {
            Step::Insert(text) => patching.text.add(text),
            Step::Copy(range) => patching.copy(range)?,
        }
    }
    patching.finish()
}

/// The addresses of a range; `None` if it is in several pieces.
fn contiguous(old: &DefinitionsIndex, range: Range<usize>) -> Option<Span> {
    let mut parts = old.text().parts(range, 0);
    let span = parts.next().map_or(Span::new(0, 0), |part| part.span);
    parts.next().is_none().then_some(span)
}

/// What the text so far ends with.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Nothing.
    Start,
    /// The envelope, and the comma after it.
    BeforeMembers,
    /// What precedes the list.
    BeforeList,
    /// The opening bracket of the list, or a comma in it.
    BeforeFlag,
    AfterFlag,
    /// The closing bracket.
    AfterList,
    /// The definitions' own members.
    AfterMembers,
}

struct Patching<'a> {
    old: &'a DefinitionsIndex,
    parts: Parts,
    /// Where the older text has what precedes the list, and what follows it.
    before: Span,
    after: Span,
    text: Writer,
    flags: Vec<FlagEntry>,
    /// The positions of the flags that were scanned.
    changed: Vec<u32>,
    /// Whether the flags have the same keys in the same order as the older ones.
    has_same_keys: bool,
    place: Place,
    /// The envelope, and where the definitions' own members begin.
    head: Option<(Envelope, usize)>,
    /// Where the list is.
    list: Range<usize>,
}

impl Patching<'_> {
    /// Appends a range of the older definitions' own members.
    fn copy(&mut self, range: &Range<usize>) -> Option<()> {
        let old = self.old;
        let raw = old.raw_range();
        let range = raw.start + range.start..raw.start + range.end;
        for part in old.text().parts(range, old.flags().len()) {
            // The patch may cut a character.
            old.text().part_at_boundaries(part.span)?;
            let mut rest = part.span;
            let Self { before, after, .. } = *self;
            if self.place == Place::Start
                && before.len() >= MIN_SHARED
                && rest.start() <= before.start()
                && before.end() <= rest.end()
            {
                self.add(Span::new(rest.start(), before.start()));
                self.share_members(before, Place::BeforeMembers, Place::BeforeList)?;
                rest = Span::new(before.end(), rest.end());
            }
            let flags = &old.flags()[part.flags.clone()];
            let first = flags.partition_point(|flag| flag.json.start() < rest.start());
            if let flags @ [one, .., last] | flags @ [one @ last] = scan::flags_in(rest, flags) {
                let shared = Span::new(one.json.start(), last.json.end());
                if shared.len() >= MIN_SHARED {
                    self.add(Span::new(rest.start(), shared.start()));
                    let first = part.flags.start + first;
                    self.share_flags(shared, first..first + flags.len())?;
                    rest = Span::new(shared.end(), rest.end());
                }
            }
            if after.len() > 0 && rest.start() <= after.start() && rest.end() == after.end() {
                self.add(Span::new(rest.start(), after.start()));
                self.share_members(after, Place::AfterList, Place::AfterMembers)?;
            } else {
                self.add(rest);
            }
        }
        Some(())
    }

    fn add(&mut self, span: Span) {
        self.text.add(self.old.text().part(span));
    }

    fn share_flags(&mut self, span: Span, flags: Range<usize>) -> Option<()> {
        self.end_gap()?;
        if self.place != Place::BeforeFlag {
            return None;
        }
        self.has_same_keys &= flags.start == self.flags.len();
        self.text.share(span, self.flags.len());
        self.flags.extend_from_slice(&self.old.flags()[flags]);
        self.place = Place::AfterFlag;
        Some(())
    }

    /// Appends what precedes or follows the list in the older definitions, which leads from one place to the other.
    fn share_members(&mut self, span: Span, from: Place, to: Place) -> Option<()> {
        if self.end_gap()? > 0 || self.place != from {
            return None;
        }
        self.text.share(span, self.flags.len());
        self.place = to;
        Some(())
    }

    /// Scans what was added since the last piece, and makes a piece of it. Returns the length of what follows the list,
    /// which is not scanned.
    fn end_gap(&mut self) -> Option<usize> {
        let flags_before = self.flags.len();
        let rest = self.scan_gap()?;
        self.text.end_gap(flags_before);
        Some(rest)
    }

    /// Scans what was added since the last piece. Returns the length of what follows the list.
    fn scan_gap(&mut self) -> Option<usize> {
        let (gap, address, offset) = (self.text.gap(), self.text.gap_address(), self.text.offset());
        let bytes = gap.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Start => {
                    let (envelope, end) = Envelope::at_the_start_of(gap)?;
                    if bytes.get(end) != Some(&b',') {
                        return None;
                    }
                    at = end + 1;
                    self.head = Some((envelope, at));
                    self.place = Place::BeforeMembers;
                }
                Place::BeforeMembers => {
                    let before = self.old.text().part(self.before);
                    gap[at..].strip_prefix(before)?;
                    at += before.len();
                    self.place = Place::BeforeList;
                }
                Place::BeforeList => {
                    if bytes[at] != b'[' {
                        return None;
                    }
                    self.list.start = offset + at;
                    at = skip_whitespace(bytes, at + 1);
                    self.place = Place::BeforeFlag;
                }
                Place::BeforeFlag => {
                    let flag = scan::flag_at(gap, at)?;
                    at = flag.json.end();
                    let position = self.flags.len();
                    let old = self.old.flags().get(position);
                    self.has_same_keys &=
                        old.is_some_and(|old| old.key.of(self.old.text()) == flag.key.of(gap));
                    self.changed.push(position as u32);
                    self.flags.push(flag.moved(address + flag.json.start()));
                    self.place = Place::AfterFlag;
                }
                Place::AfterFlag => {
                    at = skip_whitespace(bytes, at);
                    match bytes.get(at)? {
                        b',' => {
                            at = skip_whitespace(bytes, at + 1);
                            self.place = Place::BeforeFlag;
                        }
                        b']' => {
                            at += 1;
                            self.list.end = offset + at;
                            self.place = Place::AfterList;
                        }
                        _ => return None,
                    }
                }
                Place::AfterList | Place::AfterMembers => break,
            }
        }
        Some(bytes.len() - at)
    }

    fn finish(mut self) -> Option<Patched> {
        let flags_before = self.flags.len();
        let rest = self.scan_gap()?;
        let gap = self.text.gap();
        let rest = gap[gap.len() - rest..].strip_suffix('}')?;
        let (raw_end, tail) = match self.place {
            Place::AfterMembers => (self.text.offset(), rest),
            Place::AfterList => {
                let after = self.old.text().part(self.after);
                (self.list.end + after.len(), rest.strip_prefix(after)?)
            }
            _ => return None,
        };
        let tail = tail.to_owned();
        self.text.end_gap(flags_before);
        let text = self.text.finish();
        if !cfg!(test) && !text.is_worthwhile() {
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
                    flags: self.changed,
                }),
                layout: Some(Layout {
                    raw,
                    list: self.list,
                    list_at: self.parts.list_at,
                }),
            },
        })
    }
}
