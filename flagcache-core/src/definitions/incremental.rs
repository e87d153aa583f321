//! Scans a text with the help of an older snapshot: unchanged flags are compared as bytes, which is many times faster than
//! scanning them.
//!
//! The result equals that of a full scan, because the end of a JSON object does not depend on the text around it: if an
//! element of the list begins with the text of a valid flag, then that element is this flag. Everything else, errors
//! included, is left to the full scan.

use std::ops::Range;

use crate::definitions::fingerprint::ContentFingerprint;
use crate::definitions::index::{self, DefinitionsIndex, FlagChanges, Known};
use crate::definitions::scan::{self, FlagEntry, Member, Scan, Span, SpanText};
use crate::definitions::stored_form::{self, Envelope, Metadata};

/// The result of an incremental scan.
pub(crate) struct Incremental {
    /// The definitions' own members.
    pub(crate) scan: Scan,
    /// The metadata, if the text is the stored form.
    pub(crate) stored: Option<Metadata>,
    pub(crate) known: Known,
}

/// The offsets of the list of flags, and of the members before and after it.
pub(crate) struct Sections {
    pub(crate) before: Range<usize>,
    pub(crate) list: Range<usize>,
    pub(crate) after: Range<usize>,
    /// The position of the list among the members.
    pub(crate) list_at: usize,
}

impl Sections {
    /// `None` if there are two lists, or if a member has the name of the envelope.
    pub(crate) fn of(definitions: &DefinitionsIndex) -> Option<Self> {
        let (list_at, list) = match definitions.layout() {
            Some(layout) => (layout.list_at, layout.list.clone()),
            None => {
                let at = only_list(definitions.text(), definitions.members())?;
                (at, definitions.members()[at].value.range())
            }
        };
        let raw = definitions.raw_range();
        Some(Self {
            before: raw.start..list.start,
            after: list.end..raw.end,
            list,
            list_at,
        })
    }
}

/// Scans the text. If this succeeds, the text is in the canonical form. `None` if there is no older snapshot, if the text
/// before the flags differs, or if anything is not as expected; the whole text has to be scanned then.
pub(crate) fn scan(text: &str, old: Option<&DefinitionsIndex>) -> Option<Incremental> {
    const SPACE: [char; 4] = [' ', '\n', '\t', '\r'];
    let old = old?;
    let Sections {
        before,
        list: old_list,
        after,
        list_at,
    } = Sections::of(old)?;
    let old_start = before.start;
    let [before, after] = [before, after].map(|part| old.text().slice(part));

    let (envelope, start) = match Envelope::at_the_start_of(text) {
        Some((envelope, end)) if text[end..].starts_with(',') => (Some(envelope), end + 1),
        Some(_) => return None,
        None if text.starts_with('{') => (None, 1),
        None => return None,
    };
    let raw_end = match &envelope {
        Some(envelope) => start.checked_add(envelope.length())?,
        None => {
            let object = text.trim_end_matches(SPACE).strip_suffix('}')?;
            object.trim_end_matches(SPACE).len()
        }
    };
    if !text[start..].starts_with(&*before) {
        return None;
    }
    let list_start = start + before.len();
    let list = scan_list(text, list_start, old)?;
    let rest = text.get(list.end..raw_end)?;

    // The old members, moved to their positions in the new text. Spans are offsets only in a text of one buffer, so the
    // members of another one are scanned again.
    let outline;
    let is_one_buffer = old.text().buffer().is_some();
    let (members, old_start, old_list_end) = if is_one_buffer && rest == after {
        (old.members(), old_start, old_list.end)
    } else {
        let text = ["{", &before, "[]", rest, "}"].concat();
        outline = scan::scan(&text).ok()?;
        only_list(text.as_str(), &outline.members)?;
        (&outline.members[..], 1, 1 + before.len() + 2)
    };
    let members: Vec<Member> = members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            if at > list_at {
                return member.moved(old_list_end, list.end);
            }
            let mut member = member.moved(old_start, start);
            if at == list_at {
                member.value = Span::new(list_start, list.end);
                member.whole = Span::new(member.whole.start(), list.end);
            }
            member
        })
        .collect();
    if members.last()?.whole.end() != raw_end || index::canonical(text, &members).is_some() {
        return None;
    }

    let (stored, fingerprint) = match envelope {
        Some(envelope) => {
            let tail = text[raw_end..].strip_suffix('}')?;
            let aliases = index::aliases(text, &members);
            let members = Span::new(start, raw_end);
            let (metadata, fingerprint) = envelope.verify(members.len(), tail, &aliases, || {
                ContentFingerprint::of(text, [(members, &list.flags[..])])
            })?;
            (Some(metadata), Some(fingerprint))
        }
        None => (None, None),
    };
    Some(Incremental {
        scan: Scan {
            members,
            flags: list.flags,
        },
        stored,
        known: Known {
            fingerprint,
            layout: None,
            by_key: list.has_same_keys.then(|| old.by_key().clone()),
            changes: list.has_same_keys.then(|| FlagChanges {
                from: old.content(),
                flags: list.changed,
            }),
        },
    })
}

/// The position of the member `flags`; `None` if there are two, or if a member has the name of the envelope.
fn only_list(text: &(impl SpanText + ?Sized), members: &[Member]) -> Option<usize> {
    let with_name = |name| {
        let has_name = move |(_, member): &(usize, &Member)| member.name.of(text) == name;
        members.iter().enumerate().filter(has_name)
    };
    let mut lists = with_name("flags");
    let (list, _) = lists.next()?;
    (lists.next().is_none() && with_name(stored_form::NAME).next().is_none()).then_some(list)
}

/// A list of flags.
struct List {
    flags: Vec<FlagEntry>,
    /// The position after the closing bracket.
    end: usize,
    /// Whether the flags have the same keys in the same order as the old ones.
    has_same_keys: bool,
    /// The positions of the flags whose text is not that of the expected one.
    changed: Vec<u32>,
}

/// Scans the list of flags that begins at `start`. After a flag that is not the expected one, continues in the old list
/// after the flag with the same key.
fn scan_list(text: &str, start: usize, old: &DefinitionsIndex) -> Option<List> {
    let bytes = text.as_bytes();
    let mut flags = Vec::with_capacity(old.flags().len() + 1);
    let mut changed = Vec::new();
    let mut has_same_keys = true;
    let mut expected = 0;
    if *bytes.get(start)? != b'[' {
        return None;
    }
    let mut at = skip_whitespace(bytes, start + 1);
    while !(flags.is_empty() && bytes.get(at) == Some(&b']')) {
        let is_unchanged = |flag: &&FlagEntry| {
            let json = flag.json.of(old.text()).as_bytes();
            bytes[at..].starts_with(json)
        };
        match old.flags().get(expected).filter(is_unchanged) {
            Some(flag) => {
                has_same_keys &= expected == flags.len();
                expected += 1;
                flags.push(flag.moved(at));
            }
            None => {
                let flag = scan::flag_at(text, at)?;
                changed.push(flags.len() as u32);
                let key = flag.key.of(text);
                let old_here = old.flags().get(flags.len());
                has_same_keys &=
                    old_here.is_some_and(|old_flag| old_flag.key.of(old.text()) == key);
                if let Some(position) = old.position(key) {
                    expected = position + 1;
                }
                flags.push(flag);
            }
        }
        at = skip_whitespace(bytes, flags.last()?.json.end());
        match bytes.get(at)? {
            b',' => at = skip_whitespace(bytes, at + 1),
            b']' => break,
            _ => return None,
        }
    }
    flags.shrink_to_fit();
    Some(List {
        has_same_keys: has_same_keys && flags.len() == old.flags().len(),
        end: at + 1,
        flags,
        changed,
    })
}

pub(crate) fn skip_whitespace(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io::Cursor;
    use std::time::{Duration, SystemTime};

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use serde_json::Value;

    use super::*;
    use crate::{DataError, DefinitionsDiff, FlagDefinitionCacheData, Patch, ProjectFingerprint};

    /// Keys as they are written: with escapes, several of the same key, some that need more than one byte.
    const KEYS: [&str; 9] = [
        "a",
        "b",
        "beta",
        r"\u0061",
        r"be\/ta",
        r#"q\"uote"#,
        "größe",
        "🚀",
        "",
    ];
    const REST: [&str; 6] = [
        "",
        r#","active":true"#,
        r#", "active" : false"#,
        r#","filters":{"groups":[{"key":"x"},[]],"s":"]},{\"key\":\"b\"}"}"#,
        r#","key":"b""#,
        ",\n\t\"n\": 1.50e3,\"ü\":\"\\u00e9\"",
    ];
    const MEMBERS: [&str; 10] = [
        r#""group_type_mapping":{"0":"company"}"#,
        r#""groupTypeMapping":{"0":"compañía"}"#,
        r#""group_type_mapping":["company"]"#,
        r#""cohorts":{"7":{"type":"AND"}}"#,
        r#""cohorts":[]"#,
        r#""cohorts" : null"#,
        r#""property_matching_version":2"#,
        r#""property_matching_version":2.0"#,
        r#""minimal_flag_called_events":true"#,
        r#""_flagcache":{"schema":1}"#,
    ];
    /// Texts that replace or precede a byte of the new copy.
    const DAMAGE: [&[u8]; 9] = [
        b"",
        b",",
        b"]",
        b"}",
        b"\"",
        b" ",
        b"\xff",
        b"{\"key\":\"a\"},",
        b"{\"schema\":9}",
    ];

    /// How a text with definitions looks.
    #[derive(Clone, Debug)]
    struct Sketch {
        before: Vec<&'static str>,
        flags: Vec<(&'static str, &'static str)>,
        after: Vec<&'static str>,
        space: &'static str,
    }

    impl Sketch {
        fn text(&self) -> String {
            let flags: Vec<String> = self
                .flags
                .iter()
                .map(|(key, rest)| format!(r#"{{"key":"{key}"{rest}}}"#))
                .collect();
            let comma = [",", self.space].concat();
            let list = format!("\"flags\":{}[{}]", self.space, flags.join(&comma));
            let mut members = self.before.clone();
            members.push(&list);
            members.extend(&self.after);
            format!("{{{}}}", members.join(&comma))
        }
    }

    fn sketch() -> impl Strategy<Value = Sketch> {
        (
            vec(select(&MEMBERS[..]), 0..2),
            vec((select(&KEYS[..]), select(&REST[..])), 0..8),
            vec(select(&MEMBERS[..]), 0..4),
            select(&["", " ", "\n  "][..]),
        )
            .prop_map(|(before, flags, after, space)| Sketch {
                before,
                flags,
                after,
                space,
            })
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Add(Index, (&'static str, &'static str)),
        Change(Index, &'static str),
        Remove(Index),
        Swap(Index, Index),
        AddMember(&'static str),
        RemoveMember,
        Space(&'static str),
    }

    impl Edit {
        fn apply(&self, sketch: &mut Sketch) {
            let flags = &mut sketch.flags;
            match self {
                Self::Add(at, flag) => flags.insert(at.index(flags.len() + 1), *flag),
                Self::AddMember(member) => sketch.after.push(member),
                Self::RemoveMember => drop(sketch.after.pop()),
                Self::Space(space) => sketch.space = space,
                _ if flags.is_empty() => {}
                Self::Change(at, rest) => {
                    let at = at.index(flags.len());
                    flags[at].1 = rest;
                }
                Self::Remove(at) => drop(flags.remove(at.index(flags.len()))),
                Self::Swap(a, b) => {
                    let [a, b] = [a, b].map(|at| at.index(flags.len()));
                    flags.swap(a, b);
                }
            }
        }
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let index = any::<Index>;
        let flag = || (select(&KEYS[..]), select(&REST[..]));
        prop_oneof![
            4 => (index(), flag()).prop_map(|(at, flag)| Edit::Add(at, flag)),
            6 => (index(), select(&REST[..])).prop_map(|(at, rest)| Edit::Change(at, rest)),
            4 => index().prop_map(Edit::Remove),
            2 => (index(), index()).prop_map(|(a, b)| Edit::Swap(a, b)),
            1 => select(&MEMBERS[..]).prop_map(Edit::AddMember),
            1 => Just(Edit::RemoveMember),
            1 => select(&["", " ", "\n  "][..]).prop_map(Edit::Space),
        ]
    }

    /// What happens to the new text: as it is, in the stored form, cut off, or with a few bytes replaced.
    #[derive(Clone, Debug)]
    enum Damage {
        None,
        CutOff(Index),
        Replaced(Index, &'static [u8]),
        Inserted(Index, &'static [u8]),
        Appended(&'static [u8]),
    }

    impl Damage {
        fn apply(&self, text: &mut Vec<u8>) {
            match self {
                Self::None => {}
                Self::CutOff(at) => text.truncate(at.index(text.len())),
                Self::Replaced(at, with) => {
                    let at = at.index(text.len());
                    text.splice(at..=at, with.iter().copied());
                }
                Self::Inserted(at, what) => {
                    let at = at.index(text.len());
                    text.splice(at..at, what.iter().copied());
                }
                Self::Appended(what) => text.extend_from_slice(what),
            }
        }
    }

    fn damage() -> impl Strategy<Value = Damage> {
        let index = any::<Index>;
        let bytes = || select(&DAMAGE[..]);
        prop_oneof![
            4 => Just(Damage::None),
            1 => index().prop_map(Damage::CutOff),
            2 => (index(), bytes()).prop_map(|(at, with)| Damage::Replaced(at, with)),
            2 => (index(), bytes()).prop_map(|(at, what)| Damage::Inserted(at, what)),
            1 => bytes().prop_map(Damage::Appended),
        ]
    }

    fn fetched_at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000)
    }

    fn fetched(
        body: Vec<u8>,
        etag: &str,
        previous: Option<&FlagDefinitionCacheData>,
    ) -> Result<FlagDefinitionCacheData, DataError> {
        let project = Some(ProjectFingerprint::of("phc_1"));
        let (etag, at) = (Some(etag), fetched_at());
        FlagDefinitionCacheData::from_api_response_after(body, etag, at, project, previous)
    }

    /// Everything that can be observed.
    fn observed(result: &Result<FlagDefinitionCacheData, DataError>) -> Vec<String> {
        match result {
            Ok(data) => {
                let mut seen = vec![
                    format!("{data:?} {:?} {}", data.copy_id(), data.has_hidden_flags()),
                    format!("{:?} {:?}", data.to_json(), data.head()),
                    format!("{:?} {}", data.raw_json(), data.content_len()),
                    data.group_type_mapping().as_str().to_owned(),
                    data.cohorts().as_str().to_owned(),
                    format!("{:?}", data.minimal_flag_called_events()),
                    format!("{:?}", data.property_matching_version()),
                ];
                seen.extend(
                    data.flags()
                        .map(|flag| format!("{:?} {}", flag.key(), flag.json())),
                );
                seen.extend(
                    data.members()
                        .map(|(name, json)| format!("{name:?} {}", json.as_str())),
                );
                for key in data.flags().map(|flag| flag.key()).chain(KEYS) {
                    let place = data.index().position(key);
                    seen.push(format!("{key:?} {place:?}"));
                }
                seen
            }
            Err(error) => {
                let source = error.source().map(ToString::to_string);
                vec![format!("{:?} {error} {source:?}", error.kind())]
            }
        }
    }

    /// The keys of the flags that were added, removed and changed, found one by one.
    fn differences(
        new: &FlagDefinitionCacheData,
        old: &FlagDefinitionCacheData,
    ) -> [Vec<String>; 3] {
        let effective = |data: &FlagDefinitionCacheData,
                         is_wanted: &dyn Fn(&str, Value) -> bool| {
            let wanted = data.flags().enumerate().filter(|(at, flag)| {
                data.index().position(flag.key()) == Some(*at)
                    && is_wanted(flag.key(), flag.deserialize().unwrap())
            });
            wanted.map(|(_, flag)| flag.key().to_owned()).collect()
        };
        let value = |data: &FlagDefinitionCacheData, key: &str| {
            data.flag(key)
                .map(|flag| flag.deserialize::<Value>().unwrap())
        };
        [
            effective(new, &|key, _| value(old, key).is_none()),
            effective(old, &|key, _| value(new, key).is_none()),
            effective(new, &|key, json| {
                value(old, key).is_some_and(|old| old != json)
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn the_result_is_that_of_a_whole_scan(
            sketch in sketch(),
            previous_is_stored in any::<bool>(),
            edits in vec(edit(), 0..4),
            is_stored in any::<bool>(),
            etag in select(&["", "\"1\"", "\"2\""][..]),
            damage in damage(),
        ) {
            let Ok(mut previous) = fetched(sketch.text().into_bytes(), "\"1\"", None) else {
                return Ok(());
            };
            if previous_is_stored {
                previous = FlagDefinitionCacheData::from_json(previous.to_json()).unwrap();
            }
            let mut edited = sketch;
            edits.iter().for_each(|edit| edit.apply(&mut edited));
            let mut text = edited.text().into_bytes();
            if is_stored && let Ok(data) = fetched(text.clone(), etag, None) {
                text = Vec::from(data.to_json());
            }
            damage.apply(&mut text);
            let after = FlagDefinitionCacheData::from_json_after(text.clone(), &previous);
            let whole = FlagDefinitionCacheData::from_json(text.clone());
            prop_assert_eq!(observed(&after), observed(&whole));
            if let Ok(after) = after {
                let DefinitionsDiff { added, removed, changed, .. } = after.diff(&previous);
                prop_assert_eq!([added, removed, changed], differences(&after, &previous));
            }
            let mut reader = Cursor::new(text.clone());
            let read = FlagDefinitionCacheData::from_reader_after(&mut reader, &previous).unwrap();
            prop_assert_eq!(observed(&read), observed(&whole));
            let after = fetched(text.clone(), etag, Some(&previous));
            prop_assert_eq!(observed(&after), observed(&fetched(text, etag, None)));
        }

        /// Each result is what the next patch is applied to.
        #[test]
        fn patched_definitions_are_those_of_a_whole_scan(
            sketch in sketch(),
            rounds in vec((vec(edit(), 0..3), select(&["\"1\"", "\"2\""][..])), 1..6),
        ) {
            let mut edited = sketch;
            let Ok(mut patched) = fetched(edited.text().into_bytes(), "", None) else {
                return Ok(());
            };
            for (edits, etag) in rounds {
                edits.iter().for_each(|edit| edit.apply(&mut edited));
                let Ok(new) = fetched(edited.text().into_bytes(), etag, Some(&patched)) else {
                    continue;
                };
                let whole = FlagDefinitionCacheData::from_json(new.to_json());
                let Some(patch) = Patch::between_with_max_len(&patched, &new, |_| usize::MAX) else {
                    patched = whole.unwrap();
                    continue;
                };
                let result = patch.apply(&patched);
                let result = result.map_err(|error| TestCaseError::fail(error.to_string()))?;
                let DefinitionsDiff { added, removed, changed, .. } = result.diff(&patched);
                prop_assert_eq!([added, removed, changed], differences(&result, &patched));
                prop_assert_eq!(observed(&Ok(result.clone())), observed(&whole));
                let mut reader = Cursor::new(result.to_json());
                let read = FlagDefinitionCacheData::from_reader_after(&mut reader, &patched);
                prop_assert_eq!(observed(&read.unwrap()), observed(&whole));
                patched = result;
            }
        }
    }

    #[test]
    fn only_a_change_of_flags_shares_the_text() {
        let [a, b, c, changed] = [
            r#"{"key":"a","active":false}"#,
            r#"{"key":"b","active":false}"#,
            r#"{"key":"c","active":false}"#,
            r#"{"key":"b","active":true}"#,
        ];
        let old = fetched(set(&[a, b, c], "").into_bytes(), "1", None).unwrap();
        let stored = FlagDefinitionCacheData::from_json(old.to_json()).unwrap();
        for (flags, tail, shares) in [
            (vec![a, b, c], "", true),
            (vec![a, changed, c], "", true),
            (vec![a, c], "", true),
            (vec![c, a, b], "", true),
            (vec![r#"{"key":"n"}"#, a, b, c], "", true),
            (vec![], "", false),
            (vec![a, changed, c], r#","x":1"#, false),
        ] {
            let new = fetched(set(&flags, tail).into_bytes(), "2", None).unwrap();
            for old in [&old, &stored] {
                let patched = Patch::between_with_max_len(old, &new, |_| usize::MAX)
                    .unwrap()
                    .apply(old)
                    .unwrap();
                let is_one_buffer = patched.index().text().buffer().is_some();
                assert_eq!(!is_one_buffer, shares, "{flags:?} {tail}");
                assert_eq!(patched, new);
                // A whole copy after it.
                let next = set(&[a, b], "");
                let after = FlagDefinitionCacheData::from_json_after(next.clone(), &patched);
                assert_eq!(
                    after.unwrap(),
                    FlagDefinitionCacheData::from_json(next).unwrap()
                );
            }
        }
    }

    fn set(flags: &[&str], tail: &str) -> String {
        format!(r#"{{"flags":[{}],"cohorts":{{}}{tail}}}"#, flags.join(","))
    }

    fn known(old: &str, new: &str) -> Option<Incremental> {
        let old = FlagDefinitionCacheData::from_json(old.to_owned()).unwrap();
        scan(new, Some(old.index()))
    }

    #[test]
    fn a_change_of_flags_needs_no_whole_scan() {
        let [a, b, c, changed] = [
            r#"{"key":"a"}"#,
            r#"{"key":"b"}"#,
            r#"{"key":"c"}"#,
            r#"{"key":"b","active":true}"#,
        ];
        let old = set(&[a, b, c], "");
        for (new, has_same_keys) in [
            (vec![a, b, c], true),
            (vec![a, changed, c], true),
            (vec![a, c], false),
            (vec![c, a, b], false),
            (vec![], false),
            (vec![r#"{"key":"n"}"#, a, b, c], false),
        ] {
            let new = set(&new, "");
            let found = known(&old, &new).unwrap();
            assert_eq!(found.known.by_key.is_some(), has_same_keys, "{new}");
            let stored = |text: &str| {
                let data = fetched(text.as_bytes().to_vec(), "", None).unwrap();
                String::from_utf8(data.to_json().to_vec()).unwrap()
            };
            let found = known(&old, &stored(&new)).unwrap();
            assert!(found.stored.is_some());
            assert!(known(&stored(&old), &stored(&new)).is_some());
            assert!(known(&stored(&old), &new).is_some());
        }
    }

    #[test]
    fn what_follows_the_flags_may_differ() {
        let a = r#"{"key":"a"}"#;
        let old = set(&[a], "");
        for tail in [r#","x":[1]"#, " ", r#","cohorts":{"1":{}}"#] {
            let new = set(&[a], tail);
            assert!(known(&old, &new).is_some(), "{new}");
            assert!(known(&new, &old).is_some(), "{new}");
        }
    }

    #[test]
    fn what_is_odd_is_scanned_whole() {
        let a = r#"{"key":"a"}"#;
        let old = set(&[a], "");
        let odd = [
            set(&[a], r#","flags":[]"#),
            set(&[a], r#","_flagcache":{}"#),
            set(&[a], r#","cohorts":[]"#),
            [" ", &old].concat(),
            old.replacen('{', r#"{"x":1,"#, 1),
            old.replace("\"a\"", "7"),
            old[..old.len() - 1].to_owned(),
            [&old, "}"].concat(),
        ];
        for new in odd {
            assert!(known(&old, &new).is_none(), "{new}");
        }
        assert!(known(&set(&[a], r#","flags":[]"#), &old).is_none());
    }
}
