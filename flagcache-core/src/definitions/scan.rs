//! Scans a text in one pass: the position of each member and each flag.
//!
//! serde_json reads every byte once and returns keys and raw values. A cursor follows it over the punctuation between
//! them, which yields their positions in the text.

use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::{DataError, DataErrorKind};

/// The maximum length of a text, so that positions fit into 32 bits.
pub(crate) const MAX_LEN: usize = u32::MAX as usize;

/// A text that [`Span`]s are ranges of.
pub(crate) trait SpanText {
    /// The text in this range.
    fn slice_of(&self, span: Span) -> &str;
}

impl SpanText for str {
    fn slice_of(&self, span: Span) -> &str {
        &self[span.start()..span.end()]
    }
}

/// A range of a text of at most [`MAX_LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The caller has checked the text's length, so the casts are lossless.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn len(self) -> usize {
        self.end() - self.start()
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    pub(crate) fn of<T: SpanText + ?Sized>(self, text: &T) -> &str {
        text.slice_of(self)
    }

    /// The same range of a text in which what was at `from` is at `to`.
    fn moved(self, from: usize, to: usize) -> Self {
        Self::new(self.start() + to - from, self.end() + to - from)
    }
}

/// A decoded string: a range of the text, unless it contains escapes.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    Plain(Span),
    Unescaped(Box<str>),
}

impl Name {
    pub(crate) fn of<'a, T: SpanText + ?Sized>(&'a self, text: &'a T) -> &'a str {
        match self {
            Self::Plain(span) => span.of(text),
            Self::Unescaped(name) => name,
        }
    }

    fn moved(&self, from: usize, to: usize) -> Self {
        match self {
            Self::Plain(span) => Self::Plain(span.moved(from, to)),
            Self::Unescaped(name) => Self::Unescaped(name.clone()),
        }
    }
}

/// A member of the top-level object.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: Name,
    pub(crate) value: Span,
    /// From the first quote of the name to the end of the value.
    pub(crate) whole: Span,
}

impl Member {
    /// The same member of a text in which what was at `from` is at `to`.
    pub(crate) fn moved(&self, from: usize, to: usize) -> Self {
        Self {
            name: self.name.moved(from, to),
            value: self.value.moved(from, to),
            whole: self.whole.moved(from, to),
        }
    }
}

/// An element of `flags`.
#[derive(Clone, Debug)]
pub(crate) struct FlagEntry {
    pub(crate) key: Name,
    pub(crate) json: Span,
    /// The xxh3 hash of its JSON.
    pub(crate) hash: u64,
}

impl FlagEntry {
    /// The same flag in a text in which it begins at `start`.
    pub(crate) fn moved(&self, start: usize) -> Self {
        let from = self.json.start();
        Self {
            key: self.key.moved(from, start),
            json: self.json.moved(from, start),
            hash: self.hash,
        }
    }
}

/// The positions of the flags that are entirely in this range. `flags` must be in the order of the text.
pub(crate) fn flags_in(range: Span, flags: &[FlagEntry]) -> Range<usize> {
    let first = flags.partition_point(|flag| flag.json.start() < range.start());
    let end = flags.partition_point(|flag| flag.json.end() <= range.end());
    first..end.max(first)
}

/// The result of a scan.
#[derive(Debug)]
pub(crate) struct Scan {
    /// In the order of the text. Names may repeat.
    pub(crate) members: Vec<Member>,
    /// The elements of the last `flags`.
    pub(crate) flags: Vec<FlagEntry>,
}

/// Scans a text of at most [`MAX_LEN`] bytes.
pub(crate) fn scan(text: &str) -> Result<Scan, DataError> {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            return Err(DataError::new(
                DataErrorKind::NotAnObject,
                "the top level is not an object",
            ));
        }
        Some(0xef) if text.starts_with('\u{feff}') => {
            return Err(DataError::new(
                DataErrorKind::NotJson,
                "starts with a byte order mark; store it without",
            ));
        }
        _ => {}
    }
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: 0,
        place: Place::Top,
        members: Vec::new(),
        flags: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json
        .deserialize_map(TopLevel(&mut scanner))
        .and_then(|()| json.end());
    let Scanner {
        place,
        members,
        flags,
        ..
    } = scanner;
    read.map_err(|error| place.error(error))?;
    let flags = flags
        .ok_or_else(|| DataError::new(DataErrorKind::FlagsMissing, "there is no member `flags`"))?;
    Ok(Scan { members, flags })
}

/// Scans the one flag that begins at `start`. `None` if it is not a valid flag.
pub(crate) fn flag_at(text: &str, start: usize) -> Option<FlagEntry> {
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: start,
        place: Place::Flags,
        members: Vec::new(),
        flags: None,
    };
    let flag = FlagObject {
        scanner: &mut scanner,
        index: 0,
    };
    flag.deserialize(&mut serde_json::Deserializer::from_str(text.get(start..)?))
        .ok()
}

/// What is being read, for error messages.
#[derive(Clone, Copy)]
enum Place {
    Top,
    Flags,
    Flag(usize, &'static str),
}

impl Place {
    fn error(self, error: serde_json::Error) -> DataError {
        let (line, column) = (error.line(), error.column());
        match (error.classify(), self) {
            // Not kept as the source: serde's data errors quote the value.
            (Category::Data, Self::Flags) => DataError::new(
                DataErrorKind::FlagsNotAList,
                format!("`flags` is not a list (line {line} column {column})"),
            ),
            (Category::Data, Self::Flag(index, what)) => {
                DataError::new(DataErrorKind::BadFlag, format!("flags[{index}]: {what}"))
            }
            (_, Self::Flag(index, _)) => {
                let message = format!("not JSON at line {line} column {column}, in flags[{index}]");
                DataError::new(DataErrorKind::NotJson, message).with_source(error)
            }
            _ => DataError::new(
                DataErrorKind::NotJson,
                format!("not JSON at line {line} column {column}"),
            )
            .with_source(error),
        }
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    /// The cursor: everything before it is accounted for.
    at: usize,
    place: Place,
    members: Vec<Member>,
    flags: Option<Vec<FlagEntry>>,
}

impl Scanner<'_> {
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or_default()
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Passes one brace, bracket, comma or colon.
    fn pass_mark(&mut self) {
        self.skip_whitespace();
        self.at += 1;
    }

    /// Passes the name of a member and the colon after it; returns the position of the name's first quote.
    fn pass_name(&mut self, is_first: bool, text: Text<'_>) -> (usize, Name) {
        if !is_first {
            self.pass_mark();
        }
        self.skip_whitespace();
        let quote = self.at;
        let name = match text {
            Text::Borrowed(name) => {
                self.at += name.len() + 2;
                Name::Plain(Span::new(quote + 1, self.at - 1))
            }
            Text::Unescaped(name) => {
                self.pass_escaped_string();
                Name::Unescaped(name.into_boxed_str())
            }
        };
        self.pass_mark();
        (quote, name)
    }

    fn pass_escaped_string(&mut self) {
        self.at += 1;
        while self.at < self.text.len() && self.byte() != b'"' {
            self.at += if self.byte() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
    }

    fn pass_value(&mut self, raw: &RawValue) -> Span {
        self.skip_whitespace();
        let start = self.at;
        self.at += raw.get().len();
        Span::new(start, self.at)
    }
}

/// A string as serde_json returns it.
enum Text<'de> {
    Borrowed(&'de str),
    Unescaped(String),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Unescaped(text) => text,
        }
    }
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Text<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text::Unescaped(text.to_owned()))
    }
}

struct TopLevel<'s, 'a>(&'s mut Scanner<'a>);

impl<'de> Visitor<'de> for TopLevel<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let scanner = self.0;
        scanner.pass_mark();
        while let Some(text) = object.next_key_seed(NameSeed)? {
            let is_flags = text.as_str() == "flags";
            let (quote, name) = scanner.pass_name(scanner.members.is_empty(), text);
            let value = if is_flags {
                object.next_value_seed(FlagList(scanner))?
            } else {
                scanner.pass_value(object.next_value()?)
            };
            scanner.members.push(Member {
                name,
                value,
                whole: Span::new(quote, value.end()),
            });
        }
        Ok(())
    }
}

struct FlagList<'s, 'a>(&'s mut Scanner<'a>);

impl<'de> DeserializeSeed<'de> for FlagList<'_, '_> {
    type Value = Span;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Span, D::Error> {
        self.0.place = Place::Flags;
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FlagList<'_, '_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of flags")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Span, A::Error> {
        let scanner = self.0;
        scanner.skip_whitespace();
        let start = scanner.at;
        scanner.pass_mark();
        let mut flags = Vec::new();
        while let Some(flag) = list.next_element_seed(FlagObject {
            scanner,
            index: flags.len(),
        })? {
            flags.push(flag);
        }
        scanner.pass_mark();
        flags.shrink_to_fit();
        scanner.flags = Some(flags);
        scanner.place = Place::Top;
        Ok(Span::new(start, scanner.at))
    }
}

struct FlagObject<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    index: usize,
}

impl FlagObject<'_, '_> {
    fn blame(&mut self, what: &'static str) {
        self.scanner.place = Place::Flag(self.index, what);
    }
}

impl<'de> DeserializeSeed<'de> for FlagObject<'_, '_> {
    type Value = FlagEntry;

    fn deserialize<D: serde::Deserializer<'de>>(mut self, json: D) -> Result<FlagEntry, D::Error> {
        if self.index > 0 {
            self.scanner.pass_mark();
        }
        self.blame("not an object");
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FlagObject<'_, '_> {
    type Value = FlagEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flag")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<FlagEntry, A::Error> {
        self.scanner.skip_whitespace();
        let start = self.scanner.at;
        self.scanner.pass_mark();
        let mut is_first = true;
        let mut key = None;
        while let Some(text) = object.next_key_seed(NameSeed)? {
            let is_key = text.as_str() == "key";
            self.scanner.pass_name(is_first, text);
            is_first = false;
            let raw: &RawValue = object.next_value()?;
            let span = self.scanner.pass_value(raw);
            if is_key {
                match flag_key(raw, span) {
                    Ok(name) => key = Some(name),
                    Err(what) => {
                        self.blame(what);
                        return Err(A::Error::custom(what));
                    }
                }
            }
        }
        self.scanner.pass_mark();
        self.blame("there is no `key`");
        let key = key.ok_or_else(|| A::Error::custom("there is no `key`"))?;
        Ok(FlagEntry {
            key,
            json: Span::new(start, self.scanner.at),
            hash: xxh3_64(&self.scanner.text[start..self.scanner.at]),
        })
    }
}

fn flag_key(raw: &RawValue, span: Span) -> Result<Name, &'static str> {
    let text = raw.get();
    if !text.starts_with('"') {
        return Err("`key` is not a string");
    }
    if text.contains('\\') {
        return serde_json::from_str(text)
            .map(Name::Unescaped)
            .map_err(|_| "`key` has an escape that is no character");
    }
    Ok(Name::Plain(Span::new(span.start() + 1, span.end() - 1)))
}
