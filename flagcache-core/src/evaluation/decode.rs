//! A set as posthog-rs takes it.

use std::collections::HashMap;

use posthog_rs::{Cohort, LocalEvaluationResponse};
use serde::Deserialize;

use super::foreign_form;
use super::undecodable::UndecodableDefinitions;
use crate::{FlagDefinitionCacheData, RawJson};

/// What posthog-rs makes of the same JSON, flag by flag, so that it can be said which one is at fault. The other members
/// come from the set's index: it knows both of their spellings, where posthog-rs knows one.
pub(super) fn decode(
    set: &FlagDefinitionCacheData,
) -> Result<LocalEvaluationResponse, UndecodableDefinitions> {
    let mut flags = Vec::with_capacity(set.len());
    for flag in set.flags() {
        let decoded = flag
            .deserialize()
            .or_else(|error| foreign_form::decode(flag.json()).ok_or(error));
        flags.push(decoded.map_err(|error| UndecodableDefinitions::of_flag(flag.key(), &error))?);
    }
    let version = set
        .property_matching_version()
        .and_then(|version| i64::try_from(version).ok());
    Ok(LocalEvaluationResponse {
        flags,
        group_type_mapping: map("group_type_mapping", set.group_type_mapping())?,
        cohorts: map::<Cohort>("cohorts", set.cohorts())?,
        minimal_flag_called_events: set.minimal_flag_called_events(),
        property_matching_version: version.unwrap_or(LEGACY_MATCHING),
    })
}

/// No definitions. Unlike `FlagCache::clear` it closes the gate of the minimal events too.
pub(super) fn nothing() -> LocalEvaluationResponse {
    LocalEvaluationResponse {
        flags: Vec::new(),
        group_type_mapping: HashMap::new(),
        cohorts: HashMap::new(),
        minimal_flag_called_events: false,
        property_matching_version: LEGACY_MATCHING,
    }
}

/// What posthog-rs takes for a set that does not say.
const LEGACY_MATCHING: i64 = 1;

fn map<'a, T: Deserialize<'a>>(
    name: &'static str,
    json: RawJson<'a>,
) -> Result<HashMap<String, T>, UndecodableDefinitions> {
    json.deserialize()
        .map_err(|error| UndecodableDefinitions::of_member(name, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> LocalEvaluationResponse {
        decode(&FlagDefinitionCacheData::from_json(json.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn definitions_without_a_matching_version_are_matched_as_posthog_rs_does() {
        let plain = decoded(r#"{"flags":[]}"#);
        let theirs: LocalEvaluationResponse = serde_json::from_str(r#"{"flags":[]}"#).unwrap();
        assert_eq!(
            plain.property_matching_version,
            theirs.property_matching_version
        );
        assert!(!plain.minimal_flag_called_events);
    }

    #[test]
    fn b9_73_a_copy_of_php_is_evaluated() {
        let set = decoded(
            r#"{"flags":[{"key":"a","active":true,"filters":{"groups":[],"payloads":[]}}],"group_type_mapping":["company","project"],"cohorts":[],"property_matching_version":2.0}"#,
        );
        assert_eq!(
            (
                set.flags.len(),
                set.cohorts.len(),
                set.property_matching_version
            ),
            (1, 0, 2)
        );
        assert_eq!(
            (&*set.group_type_mapping["0"], &*set.group_type_mapping["1"]),
            ("company", "project")
        );
    }

    #[test]
    fn a_copy_in_the_other_spelling_counts() {
        let set = decoded(
            r#"{"flags":[],"groupTypeMapping":{"0":"company"},"minimalFlagCalledEvents":true,"propertyMatchingVersion":2}"#,
        );
        assert_eq!(set.group_type_mapping["0"], "company");
        assert!(set.minimal_flag_called_events);
        assert_eq!(set.property_matching_version, 2);
    }
}
