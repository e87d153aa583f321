//! Identity and difference.

use flagcache_core::{DefinitionsDiff, FlagDefinitionCacheData};

use crate::{BODY, api, set};

fn diff(old: &str, new: &str) -> DefinitionsDiff {
    set(new).diff(&set(old))
}

#[test]
fn b2_20_identical_content_is_no_change() {
    let (first, second) = (api(BODY, Some("\"a\"")), api(BODY, Some("\"b\"")));
    assert!(first.same_content(&second) && first != second);
    assert_eq!(first.content_fingerprint(), second.content_fingerprint());
    assert_ne!(first.copy_id(), second.copy_id());
    assert!(first.diff(&second).is_empty());
    let stored = FlagDefinitionCacheData::from_json(first.to_json()).unwrap();
    assert!(stored.same_content(&second));
    assert!(!set(&BODY.replace("33.33", "33.34")).same_content(&first));
}

#[test]
fn b7_56_flags_are_added_removed_and_changed() {
    let old = r#"{"flags":[{"key":"a","v":1},{"key":"b"},{"key":"c"},{"key":"d"}]}"#;
    let new = r#"{"flags":[{"key":"z"},{"key":"d"},{"key":"a","v":2},{"key":"y"},{"key":"c"}]}"#;
    let diff = diff(old, new);
    assert_eq!(diff.added, ["z", "y"]);
    assert_eq!(diff.removed, ["b"]);
    assert_eq!(diff.changed, ["a"]);
    assert!(diff.members.is_empty() && !diff.is_empty());
    let both_empty = set(r#"{"flags":[]}"#).diff(&set(r#"{ "flags":[ ] }"#));
    assert!(both_empty.is_empty());
}

#[test]
fn of_two_flags_with_one_key_the_last_is_compared() {
    let one = r#"{"flags":[{"key":"a","v":2}]}"#;
    let two = r#"{"flags":[{"key":"a","v":1},{"key":"a","v":2}]}"#;
    assert!(diff(one, two).is_empty() && diff(two, one).is_empty());
    assert_eq!(diff(two, r#"{"flags":[]}"#).removed, ["a"]);
    assert_eq!(diff(r#"{"flags":[]}"#, two).added, ["a"]);
    assert_eq!(diff(two, r#"{"flags":[{"key":"a","v":1}]}"#).changed, ["a"]);
}

#[test]
fn b6_52_a_version_only_change_is_a_change() {
    let base = r#"{"flags":[{"key":"a"}],"property_matching_version":2}"#;
    for new in [
        r#"{"flags":[{"key":"a"}]}"#,
        r#"{"flags":[{"key":"a"}],"property_matching_version":3}"#,
    ] {
        let diff = diff(base, new);
        assert_eq!(diff.members, ["property_matching_version"]);
        assert!(diff.changed.is_empty() && !diff.is_empty());
    }
}

#[test]
fn every_other_member_counts() {
    let old = r#"{"flags":[],"group_type_mapping":{"0":"a"},"cohorts":{},"x":1,"minimalFlagCalledEvents":true}"#;
    let new = r#"{"flags":[],"groupTypeMapping":{"0":"b"},"cohorts":{"1":{}},"y":1}"#;
    assert_eq!(
        diff(old, new).members,
        [
            "cohorts",
            "group_type_mapping",
            "minimal_flag_called_events",
            "x",
            "y"
        ]
    );
}

#[test]
fn another_spelling_of_the_same_is_no_change() {
    let cases = [
        (
            r#"{"flags":[],"group_type_mapping":{"0":"a"}}"#,
            r#"{"flags":[],"groupTypeMapping":{"0":"a"}}"#,
        ),
        (
            r#"{"flags":[],"property_matching_version":2}"#,
            r#"{"flags":[],"propertyMatchingVersion":2}"#,
        ),
        (
            r#"{"flags":[],"cohorts":{},"group_type_mapping":{}}"#,
            r#"{"flags":[]}"#,
        ),
        (r#"{"flags":[],"x":null}"#, r#"{"flags":[]}"#),
        (
            r#"{"flags":[],"minimal_flag_called_events":false}"#,
            r#"{"flags":[]}"#,
        ),
        (
            r#"{"flags":[{"key":"a","v":[1,{"b":2}]}]}"#,
            "{ \"flags\" : [ {\n\"key\" : \"a\", \"v\": [1, {\"b\":\t2}] } ] }",
        ),
        // No reader of doubles can hold this number, so it is not decoded.
        (
            r#"{"flags":[{"key":"a","n":[1e400,1]}]}"#,
            r#"{"flags":[{"key": "a", "n": [1e400, 1]}]}"#,
        ),
        (
            r#"{"flags":[{"key":"a","b":2.0,"c":3}]}"#,
            r#"{"flags":[{"c":3,"b":2,"key":"a"}]}"#,
        ),
        (
            r#"{"flags":[{"key":"a","s":"é"}]}"#,
            r#"{"flags":[{"key":"\u0061","s":"\u00e9"}]}"#,
        ),
        (
            r#"{"flags":[{"key":"a"},{"key":"b"}]}"#,
            r#"{"flags":[{"key":"b"},{"key":"a"}]}"#,
        ),
    ];
    for (old, new) in cases {
        assert!(
            diff(old, new).is_empty(),
            "{old} {new} {:?}",
            diff(old, new)
        );
        assert!(diff(new, old).is_empty(), "{new} {old}");
    }
}

#[test]
fn what_only_looks_alike_is_a_change() {
    let cases = [
        ("9007199254740992", "9007199254740993"),
        ("2", "\"2\""),
        ("33.33", "33.34"),
        (r#""a b""#, r#""ab""#),
        (r#""a\" b""#, r#""a\"b""#),
        (r#""\\" "#, r#""\\ ""#),
        ("[1,2]", "[2,1]"),
        ("null", "false"),
        ("{}", "[]"),
        (r#""\ud800""#, r#""\ud801""#),
    ];
    for (old, new) in cases {
        let with = |value| format!(r#"{{"flags":[{{"key":"a","v":{value}}}]}}"#);
        assert_eq!(diff(&with(old), &with(new)).changed, ["a"], "{old} {new}");
    }
}
