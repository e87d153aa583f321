//! Why posthog-rs cannot evaluate a set.

use std::fmt;

use thiserror::Error;

use crate::text::escaped;

/// Why posthog-rs cannot evaluate the set that its poller has in memory. The set before it goes on being evaluated.
///
/// Says which flag is at fault, what is wrong and where in its definition; never shows what stands there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("posthog-rs cannot decode {place}: {reason}")]
pub struct UndecodableDefinitions {
    place: Place,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Flag(String),
    Member(&'static str),
    Set,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "flag `{}`", escaped(key)),
            Self::Member(name) => write!(f, "`{name}`"),
            Self::Set => f.write_str("the set"),
        }
    }
}

impl UndecodableDefinitions {
    pub(super) fn of_flag(key: &str, error: &serde_json::Error) -> Self {
        Self {
            place: Place::Flag(key.to_owned()),
            reason: reason(error),
        }
    }

    pub(super) fn of_member(name: &'static str, error: &serde_json::Error) -> Self {
        Self {
            place: Place::Member(name),
            reason: reason(error),
        }
    }

    pub(super) fn panicked() -> Self {
        Self {
            place: Place::Set,
            reason: "it panicked".to_owned(),
        }
    }

    /// The key of the flag at fault, the first of the set's order; `None` if it is another part of the set.
    pub fn flag_key(&self) -> Option<&str> {
        match &self.place {
            Place::Flag(key) => Some(key),
            Place::Member(_) | Place::Set => None,
        }
    }

    /// Whether both are about the same part of a set.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

/// What serde_json says, without what it quotes from the definition: that may be a user's address.
fn reason(error: &serde_json::Error) -> String {
    let (said, at) = (
        error.to_string(),
        format!("line {} column {}", error.line(), error.column()),
    );
    let said = said.strip_suffix(&format!(" at {at}")).unwrap_or(&said);
    match without_quotation(said) {
        Some(what) => format!("{what} ({at})"),
        None => format!("it does not have the expected form ({at})"),
    }
}

fn without_quotation(said: &str) -> Option<String> {
    // The names are those of the fields that the type has.
    if said.starts_with("missing field `") || said.starts_with("duplicate field `") {
        return Some(said.to_owned());
    }
    let found = said.strip_prefix("invalid type: ")?;
    // What is expected comes last, and is written by the type.
    let (found, expected) = found.rsplit_once(", expected ")?;
    let kinds = [
        "null",
        "boolean",
        "integer",
        "floating point",
        "string",
        "map",
        "sequence",
    ];
    let kind = kinds.into_iter().find(|kind| found.starts_with(kind))?;
    Some(format!("invalid type: {kind}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use posthog_rs::FeatureFlag;

    use super::*;

    fn flag(json: &str) -> String {
        UndecodableDefinitions::of_flag(
            "new-checkout",
            &serde_json::from_str::<FeatureFlag>(json).unwrap_err(),
        )
        .to_string()
    }

    #[test]
    fn the_flag_and_the_fault_are_named() {
        // Which byte of it a fault counts for is serde_json's matter.
        let at = |json: &str| {
            let error = serde_json::from_str::<FeatureFlag>(json).unwrap_err();
            format!("(line {} column {})", error.line(), error.column())
        };
        for (json, fault) in [
            (r#"{"key":"new-checkout"}"#, "missing field `active`"),
            (
                r#"{"key":"new-checkout","active":true,"filters":{"groups":{}}}"#,
                "invalid type: map, expected a sequence",
            ),
        ] {
            let expected = format!(
                "posthog-rs cannot decode flag `new-checkout`: {fault} {}",
                at(json)
            );
            assert_eq!(flag(json), expected);
        }
    }

    #[test]
    fn a_key_forges_no_line_of_a_log() {
        let error = serde_json::from_str::<FeatureFlag>("{}").unwrap_err();
        let error = UndecodableDefinitions::of_flag("a\n\u{1b}[2K all is well", &error);
        let shown = error.to_string();
        assert!(
            shown.starts_with(r"posthog-rs cannot decode flag `a\n\u{1b}[2K all is well`: "),
            "{shown}"
        );
        assert!(!shown.contains(char::is_control));
        assert_eq!(
            error.flag_key(),
            Some("a\n\u{1b}[2K all is well"),
            "the key itself is as it is"
        );
    }

    #[test]
    fn what_stands_in_the_definition_is_not_shown() {
        for secret in [
            r#""ada@example.com""#,
            r#""ada@example.com, expected a string""#,
            "4711",
            "47.11",
            "true",
            "null",
        ] {
            for json in [
                format!(r#"{{"key":"new-checkout","active":{secret}}}"#),
                format!(r#"{{"key":"new-checkout","active":true,"filters":{secret}}}"#),
                format!(
                    r#"{{"key":"new-checkout","active":true,"filters":{{"groups":[{secret}]}}}}"#
                ),
                format!(
                    r#"{{"key":"new-checkout","active":true,"filters":{{"groups":[{{"rollout_percentage":{secret}}}]}}}}"#
                ),
            ] {
                let Err(error) = serde_json::from_str::<FeatureFlag>(&json) else {
                    continue;
                };
                let shown = UndecodableDefinitions::of_flag("new-checkout", &error).to_string();
                for part in ["ada", "4711", "47.11", "true"] {
                    assert!(!shown.contains(part), "{shown}");
                }
            }
        }
        let error = serde_json::from_str::<HashMap<String, String>>(r#"{"0":["ada@example.com"]}"#)
            .unwrap_err();
        let error = UndecodableDefinitions::of_member("group_type_mapping", &error);
        let shown = error.to_string();
        let expected = "posthog-rs cannot decode `group_type_mapping`: invalid type: sequence, expected a string (line 1 ";
        assert!(shown.starts_with(expected), "{shown}");
        assert_eq!(error.flag_key(), None);
    }
}
