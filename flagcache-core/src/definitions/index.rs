//! [`DefinitionsIndex`]: a scanned text, the positions of its members, and the table that finds a flag.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde_json::value::RawValue;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::piece_table::PieceTable;
use crate::definitions::scan::{FlagEntry, Member, Scan, Span, SpanText};
use crate::{DataError, DataErrorKind};

/// Members that the SDKs spell in two ways: snake_case, camelCase.
pub(crate) const SPELLINGS: [(&str, &str); 3] = [
    ("group_type_mapping", "groupTypeMapping"),
    ("minimal_flag_called_events", "minimalFlagCalledEvents"),
    ("property_matching_version", "propertyMatchingVersion"),
];

/// A text with flag definitions, the positions of its members and flags, and the hash table of the flags.
pub(crate) struct DefinitionsIndex {
    text: PieceTable,
    raw: Range<usize>,
    members: Vec<Member>,
    layout: Option<Layout>,
    /// The text of a list of flags in several pieces, once it was asked for.
    joined_list: OnceLock<Box<str>>,
    flags: Vec<FlagEntry>,
    by_key: KeyTable,
    group_type_mapping: Option<Span>,
    cohorts: Option<Span>,
    minimal_flag_called_events: bool,
    property_matching_version: Option<u64>,
    fingerprint: ContentFingerprint,
    changes: Option<FlagChanges>,
}

/// The offsets of what is in several pieces of a text, which no [`Span`] can express.
pub(crate) struct Layout {
    /// The definitions' own members.
    pub(crate) raw: Range<usize>,
    /// The list of flags.
    pub(crate) list: Range<usize>,
    /// The position of the list among the members.
    pub(crate) list_at: usize,
}

/// Identifies the definitions' own members: their fingerprint and their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) fingerprint: ContentFingerprint,
    pub(crate) len: usize,
}

/// Which flags differ from those of older definitions with the same keys in the same order.
pub(crate) struct FlagChanges {
    /// The older definitions.
    pub(crate) from: Content,
    /// The positions of all flags whose text differs, and perhaps of some whose text is the same, in ascending order.
    pub(crate) flags: Vec<u32>,
}

/// What the caller of [`DefinitionsIndex::with`] already knows about the text.
#[derive(Default)]
pub(crate) struct Known {
    /// The fingerprint of the definitions' own members.
    pub(crate) fingerprint: Option<ContentFingerprint>,
    /// The table of other definitions with the same keys in the same order.
    pub(crate) by_key: Option<KeyTable>,
    /// The flags that differ from those of other definitions.
    pub(crate) changes: Option<FlagChanges>,
    /// `Some` if the text has several pieces.
    pub(crate) layout: Option<Layout>,
}

impl DefinitionsIndex {
    /// Checks the types of the members and builds the index. `scan` holds the definitions' own members only, which are
    /// adjacent.
    pub(crate) fn new(text: String, scan: Scan) -> Result<Self, DataError> {
        Self::with(text, scan, Known::default())
    }

    /// Like [`new`](Self::new), without the steps whose result is known.
    pub(crate) fn with(
        text: impl Into<PieceTable>,
        scan: Scan,
        known: Known,
    ) -> Result<Self, DataError> {
        let text = text.into();
        let Scan { mut members, flags } = scan;
        members.shrink_to_fit();
        let either = |snake, camel| {
            value_of(&text, &members, snake).or_else(|| value_of(&text, &members, camel))
        };
        let [group_type_mapping, minimal, version] =
            SPELLINGS.map(|(snake, camel)| either(snake, camel));
        let cohorts = value_of(&text, &members, "cohorts");
        for (name, span) in [
            ("group_type_mapping", group_type_mapping),
            ("cohorts", cohorts),
        ] {
            if span.is_some_and(|span| !span.of(&text).starts_with('{')) {
                return Err(DataError::new(
                    DataErrorKind::BadMember,
                    format!("member `{name}`: not an object"),
                ));
            }
        }
        let raw = match &known.layout {
            Some(layout) => layout.raw.clone(),
            None => raw_range(&members),
        };
        Ok(Self {
            by_key: known.by_key.unwrap_or_else(|| KeyTable::new(&text, &flags)),
            minimal_flag_called_events: minimal.is_some_and(|span| span.of(&text) == "true"),
            property_matching_version: version.and_then(|span| span.of(&text).parse().ok()),
            fingerprint: known.fingerprint.unwrap_or_else(|| {
                ContentFingerprint::of(&text, text.flags_in(raw.clone(), &flags))
            }),
            raw,
            layout: known.layout,
            joined_list: OnceLock::new(),
            changes: known.changes,
            group_type_mapping,
            cohorts,
            members,
            flags,
            text,
        })
    }

    /// The whole text: the definitions' own members, possibly with an envelope and aliases. The spans of the members and
    /// flags refer to it, except the value of a list of flags in several pieces: see [`member_value`](Self::member_value).
    pub(crate) fn text(&self) -> &PieceTable {
        &self.text
    }

    /// The definitions' own members as received, from the first name to the last value. Copies them if they are in
    /// several pieces.
    pub(crate) fn raw(&self) -> Cow<'_, str> {
        self.text.slice(self.raw.clone())
    }

    /// Where the text has [`raw`](Self::raw).
    pub(crate) fn raw_range(&self) -> Range<usize> {
        self.raw.clone()
    }

    /// Whether the text holds nothing but the definitions' own members.
    pub(crate) fn is_plain(&self) -> bool {
        self.text.slice(0..self.raw.start).trim_ascii() == "{"
    }

    /// `Some` if the text has several pieces.
    pub(crate) fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn flags(&self) -> &[FlagEntry] {
        &self.flags
    }

    pub(crate) fn flag(&self, key: &str) -> Option<&FlagEntry> {
        self.flags.get(self.position(key)?)
    }

    /// The position of the flag with this key among the flags.
    pub(crate) fn position(&self, key: &str) -> Option<usize> {
        self.by_key.position(key, &self.text, &self.flags)
    }

    pub(crate) fn by_key(&self) -> &KeyTable {
        &self.by_key
    }

    /// Whether two flags have the same key.
    pub(crate) fn has_hidden_flags(&self) -> bool {
        self.by_key.table.len() < self.flags.len()
    }

    pub(crate) fn member(&self, name: &str) -> Option<&str> {
        self.member_position(name).map(|at| self.member_value(at))
    }

    /// The position of the last member with this name.
    pub(crate) fn member_position(&self, name: &str) -> Option<usize> {
        let has_name = |member: &Member| member.name.of(&self.text) == name;
        self.members.iter().rposition(has_name)
    }

    /// Where [`raw`](Self::raw) has the flag at this position, which must exist.
    pub(crate) fn flag_range(&self, position: usize) -> Range<usize> {
        let json = self.flags[position].json;
        let start = self.text.offset_of_flag(position, json) - self.raw.start;
        start..start + json.len()
    }

    /// Where [`raw`](Self::raw) has the value of the member at this position, which must exist. `None` if that is not
    /// known, which can be the case in a text of several pieces.
    pub(crate) fn member_range(&self, at: usize) -> Option<Range<usize>> {
        let value = self.members[at].value;
        let start = self.text.offset_of(value)?.checked_sub(self.raw.start)?;
        Some(start..start + value.len())
    }

    /// The value of the member at this position, which must exist. Joins a list of flags in several pieces once.
    pub(crate) fn member_value(&self, at: usize) -> &str {
        match &self.layout {
            Some(Layout { list, list_at, .. }) if *list_at == at => {
                let join = || self.text.slice(list.clone()).into();
                self.joined_list.get_or_init(join)
            }
            _ => self.members[at].value.of(&self.text),
        }
    }

    pub(crate) fn group_type_mapping(&self) -> Option<&str> {
        self.group_type_mapping.map(|span| span.of(&self.text))
    }

    pub(crate) fn cohorts(&self) -> Option<&str> {
        self.cohorts.map(|span| span.of(&self.text))
    }

    pub(crate) fn minimal_flag_called_events(&self) -> bool {
        self.minimal_flag_called_events
    }

    pub(crate) fn property_matching_version(&self) -> Option<u64> {
        self.property_matching_version
    }

    pub(crate) fn fingerprint(&self) -> ContentFingerprint {
        self.fingerprint
    }

    /// Identifies the definitions' own members.
    pub(crate) fn content(&self) -> Content {
        Content {
            fingerprint: self.fingerprint,
            len: self.raw.len(),
        }
    }

    /// The positions of the flags that differ from those of `old`, whose other flags have the same text at the same
    /// position. `None` if that is not known.
    pub(crate) fn changed_since(&self, old: &Self) -> Option<&[u32]> {
        let changes = self.changes.as_ref()?;
        (changes.from == old.content()).then_some(&changes.flags)
    }
}

/// Members that are mappings: group type names by index, and cohorts by ID.
const GROUP_TYPES: [&str; 2] = ["group_type_mapping", "groupTypeMapping"];
const COHORTS: &str = "cohorts";
const VERSIONS: [&str; 2] = ["property_matching_version", "propertyMatchingVersion"];

/// Repairs values that other languages and document stores write differently from the API; `None` if there are none.
/// PHP writes an empty mapping as `[]` and one with the keys 0, 1, … as a list; document stores return integers as
/// doubles (`2.0`).
pub(crate) fn canonical(text: &str, members: &[Member]) -> Option<String> {
    let fixed: Vec<Option<String>> = members
        .iter()
        .map(|member| canonical_value(text, member))
        .collect();
    if fixed.iter().all(Option::is_none) {
        return None;
    }
    let mut canonical = String::with_capacity(text.len());
    for (member, fixed) in members.iter().zip(&fixed) {
        canonical.push(if canonical.is_empty() { '{' } else { ',' });
        match fixed {
            Some(value) => {
                canonical.push_str(&text[member.whole.start()..member.value.start()]);
                canonical.push_str(value);
            }
            None => canonical.push_str(member.whole.of(text)),
        }
    }
    canonical.push('}');
    Some(canonical)
}

fn canonical_value(text: &str, member: &Member) -> Option<String> {
    let (name, value) = (member.name.of(text), member.value.of(text));
    if GROUP_TYPES.contains(&name) {
        mapping_of_list(value, '"')
    } else if name == COHORTS {
        mapping_of_list(value, '{')
    } else if VERSIONS.contains(&name) {
        whole_number(value)
    } else {
        None
    }
}

/// Converts a list to a mapping if each element begins with `first`. A `null` stands for a missing key.
fn mapping_of_list(value: &str, first: char) -> Option<String> {
    if !value.starts_with('[') {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    let mut mapping = String::from("{");
    for (index, element) in elements
        .iter()
        .enumerate()
        .filter(|(_, element)| element.get() != "null")
    {
        if !element.get().starts_with(first) {
            return None;
        }
        if mapping.len() > 1 {
            mapping.push(',');
        }
        mapping.extend(["\"", &index.to_string(), "\":", element.get()]);
    }
    mapping.push('}');
    Some(mapping)
}

/// The number without its fraction, if the fraction is zero.
fn whole_number(value: &str) -> Option<String> {
    /// The largest double up to which every integer is exact.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if !value.contains(['.', 'e', 'E']) || value.starts_with('"') {
        return None;
    }
    let number: f64 = value.parse().ok()?;
    (number.fract() == 0.0 && (0.0..=LARGEST).contains(&number))
        .then(|| format!("{}", number as u64))
}

/// From the first member's name to the last member's value.
fn raw_range(members: &[Member]) -> Range<usize> {
    match (members.first(), members.last()) {
        (Some(first), Some(last)) => first.whole.start()..last.whole.end(),
        _ => 0..0,
    }
}

/// The aliases to append to `members`: the other spelling of each name that occurs in one spelling only.
pub(crate) fn aliases(text: &(impl SpanText + ?Sized), members: &[Member]) -> String {
    let mut aliases = String::new();
    for (snake, camel) in SPELLINGS {
        let (name, value) = match (last(text, members, snake), last(text, members, camel)) {
            (Some(value), None) => (camel, value),
            (None, Some(value)) => (snake, value),
            _ => continue,
        };
        aliases.extend([",\"", name, "\":", value.of(text)]);
    }
    aliases
}

/// The value of the last member of this name.
fn last(text: &(impl SpanText + ?Sized), members: &[Member], name: &str) -> Option<Span> {
    members
        .iter()
        .rev()
        .find(|member| member.name.of(text) == name)
        .map(|member| member.value)
}

/// Like [`last`], but `null` counts as absent.
fn value_of(text: &PieceTable, members: &[Member], name: &str) -> Option<Span> {
    last(text, members, name).filter(|span| span.of(text) != "null")
}

/// Finds a flag's position by its key. Of two flags with the same key the last wins, as in the other SDKs.
#[derive(Clone)]
pub(crate) struct KeyTable {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl KeyTable {
    fn new(text: &PieceTable, flags: &[FlagEntry]) -> Self {
        let hasher = DefaultHashBuilder::default();
        let key = |at: u32| flags[at as usize].key.of(text);
        let mut table = HashTable::with_capacity(flags.len());
        for at in 0..flags.len() as u32 {
            let hash = hasher.hash_one(key(at));
            table
                .entry(
                    hash,
                    |&other| key(other) == key(at),
                    |&other| hasher.hash_one(key(other)),
                )
                .and_modify(|other| *other = at)
                .or_insert(at);
        }
        Self { table, hasher }
    }

    fn position(&self, key: &str, text: &PieceTable, flags: &[FlagEntry]) -> Option<usize> {
        let matches = |&at: &u32| flags[at as usize].key.of(text) == key;
        let at = self.table.find(self.hasher.hash_one(key), matches)?;
        Some(*at as usize)
    }
}
