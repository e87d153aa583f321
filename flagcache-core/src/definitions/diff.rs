//! [`DefinitionsDiff`]: the difference between two snapshots.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::FlagDefinitionCacheData;
use crate::definitions::index::SPELLINGS;

/// The difference between definitions and older ones.
///
/// Only differences in meaning count: not spacing, the order of members, `2.0` in place of `2`, the order of flags, or
/// metadata. Numbers are compared as 64-bit integers or doubles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefinitionsDiff {
    /// The keys of flags that only the new definitions have, in their order.
    pub added: Vec<String>,
    /// The keys of flags that only the old definitions have, in their order.
    pub removed: Vec<String>,
    /// The keys of flags that both have and that differ, in the order of the new definitions.
    pub changed: Vec<String>,
    /// The other top-level members that differ, such as `cohorts` or `property_matching_version`; snake_case, sorted.
    pub members: Vec<String>,
}

impl DefinitionsDiff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.members.is_empty()
    }
}

impl FlagDefinitionCacheData {
    /// The difference to older definitions. Free if the content is the same, and nearly so if these definitions were decoded
    /// after `old` and have the same keys; otherwise both texts are compared flag by
    /// flag, with a lookup only where they differ. A flag is decoded only if its text differs in more than spacing.
    /// Runs on the calling thread: a few milliseconds for 10 MB, some hundred milliseconds if every flag must
    /// be decoded.
    pub fn diff(&self, old: &Self) -> DefinitionsDiff {
        let mut diff = DefinitionsDiff::default();
        if self.same_content(old) {
            return diff;
        }
        let no_key_twice = !self.has_hidden_flags() && !old.has_hidden_flags();
        if let Some(changed) = self.index().changed_since(old.index())
            && no_key_twice
        {
            for &position in changed {
                let [new, before] = [self, old].map(|of| of.flag_at(position as usize));
                if !same_json(before.json(), new.json()) {
                    diff.changed.push(new.key().to_owned());
                }
            }
            diff.members.extend(changed_members(self, old));
            return diff;
        }
        let mut found = vec![false; old.len()];
        // Most flags are unchanged and in the same order, so the flag after the last match is tried first.
        let mut expected = 0;
        let is_at = |position: usize, json: &str| {
            let flag = old.index().flags().get(position);
            flag.is_some_and(|flag| flag.json.of(old.index().text()) == json)
        };
        for (_, key, json) in self.effective_flags() {
            let is_expected = !old.has_hidden_flags() && is_at(expected, json);
            let position = if is_expected {
                Some(expected)
            } else {
                old.index().position(key)
            };
            let Some(position) = position else {
                diff.added.push(key.to_owned());
                continue;
            };
            let before = &old.index().flags()[position];
            if !is_expected && !same_json(before.json.of(old.index().text()), json) {
                diff.changed.push(key.to_owned());
            }
            found[position] = true;
            expected = position + 1;
        }
        let removed = old
            .effective_flags()
            .filter(|(position, ..)| !found[*position]);
        diff.removed
            .extend(removed.map(|(_, key, _)| key.to_owned()));
        diff.members.extend(changed_members(self, old));
        diff
    }

    /// Position, key and JSON of the flags, without those that a later flag of the same key overrides.
    fn effective_flags(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let hides_none = !self.has_hidden_flags();
        self.flags()
            .enumerate()
            .map(|(position, flag)| (position, flag.key(), flag.json()))
            .filter(move |(position, key, _)| {
                hides_none || self.index().position(key) == Some(*position)
            })
    }

    /// A member by its snake_case name, in whichever spelling it occurs; `null` counts as absent.
    fn either_member(&self, name: &str) -> Option<&str> {
        let camel = SPELLINGS
            .iter()
            .find(|(snake, _)| *snake == name)
            .map(|(_, camel)| *camel);
        let member = |name| {
            self.member(name)
                .map(|json| json.as_str())
                .filter(|json| *json != "null")
        };
        member(name).or_else(|| member(camel?))
    }
}

fn changed_members(new: &FlagDefinitionCacheData, old: &FlagDefinitionCacheData) -> Vec<String> {
    let snake = |name| {
        SPELLINGS
            .iter()
            .find(|(_, camel)| *camel == name)
            .map_or(name, |(snake, _)| *snake)
    };
    let names: BTreeSet<&str> = new
        .member_names()
        .chain(old.member_names())
        .map(snake)
        .collect();
    let differs = |name| match name {
        "flags" => false,
        "group_type_mapping" => !same_json(
            new.group_type_mapping().as_str(),
            old.group_type_mapping().as_str(),
        ),
        "cohorts" => !same_json(new.cohorts().as_str(), old.cohorts().as_str()),
        "minimal_flag_called_events" => {
            new.minimal_flag_called_events() != old.minimal_flag_called_events()
        }
        _ => match (new.either_member(name), old.either_member(name)) {
            (Some(new), Some(old)) => !same_json(new, old),
            (new, old) => new.is_some() != old.is_some(),
        },
    };
    names
        .into_iter()
        .filter(|name| differs(name))
        .map(str::to_owned)
        .collect()
}

/// Whether two texts mean the same. Texts that cannot be decoded must be identical.
fn same_json(a: &str, b: &str) -> bool {
    std::ptr::eq(a, b)
        || a == b
        || same_tokens(a, b)
        || match (serde_json::from_str(a), serde_json::from_str(b)) {
            (Ok(a), Ok(b)) => same_value(&a, &b),
            _ => false,
        }
}

/// Whether two JSON texts differ in spacing only: common in copies that another SDK wrote, and far cheaper to detect
/// than by decoding both.
fn same_tokens(a: &str, b: &str) -> bool {
    tokens(a).eq(tokens(b))
}

/// The bytes of a valid JSON text without the spacing between its tokens.
fn tokens(json: &str) -> impl Iterator<Item = u8> {
    let (mut in_string, mut is_escaped) = (false, false);
    json.bytes().filter(move |byte| {
        if in_string {
            in_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    })
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same_value(a, b)))
        }
        // One SDK writes 100.0 where another writes 100. Two integers are never compared as doubles.
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        _ => a == b,
    }
}
