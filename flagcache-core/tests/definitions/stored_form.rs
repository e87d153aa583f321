//! The stored form: round trips, metadata, and copies by other hands.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flagcache_core::{FlagDefinitionCacheData, HEAD_LEN, ProjectFingerprint};
use serde_json::Value;

use crate::{BODY, api, fetched_at, set, stored_text};

fn reread(set: &FlagDefinitionCacheData) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(set.to_json()).unwrap()
}

/// The definitions are those of `BODY`; nothing is said about where they came from.
fn assert_without_metadata(set: &FlagDefinitionCacheData) {
    assert_eq!(
        (set.etag(), set.fetched_at(), set.project()),
        (None, None, None)
    );
    assert!(set.diff(&crate::set(BODY)).is_empty());
    assert!(set.members().all(|(name, _)| name != "_flagcache"));
    let again = reread(set);
    assert_eq!(&again, set, "the next writer stores it cleanly");
    assert_eq!(
        again.raw_json(),
        Bytes::from([b"{", &*set.raw_json().slice(1..)].concat())
    );
}

#[test]
fn b6_50_unknown_members_and_numbers_survive_a_round_trip_exactly() {
    let set = api(BODY, Some("\"e\""));
    assert_eq!(set.raw_json(), BODY);
    let copy = reread(&set);
    assert_eq!(copy.raw_json(), BODY);
    assert_eq!(copy, set);
    for (flag, other) in set.flags().zip(copy.flags()) {
        assert_eq!((flag.key(), flag.json()), (other.key(), other.json()));
    }
    assert_eq!(
        copy.member("quota").unwrap().as_str(),
        "18446744073709551615"
    );
    assert_eq!(copy.member("ünknown").unwrap().as_str(), "[0.1]");
    assert!(
        copy.flag("checkout")
            .unwrap()
            .json()
            .contains("33.330000000000000001")
    );
}

/// What the API announces for `?v=2`: rules in place of groups, in one list with flags of the first format.
#[test]
fn b6_50_flags_of_the_coming_format_survive_a_round_trip_byte_for_byte() {
    let body = concat!(
        r#"{"feed_version":2, "flags":[{"key":"ruled","active":true,"version":7,"filters":{"version":2,"return_type":"boolean",  "#,
        r#""default_value":false,"rules":[{"type":"percentage_rollout","percentage":33.330,"value":true,"id":18446744073709551615}]}}, "#,
        r#"{"key":"grouped","active":true,"filters":{"groups":[{"rollout_percentage":100}]}}],"cohorts":{},"segments":[{"id":1e0}]}"#,
    );
    let copy = reread(&api(body, Some("\"e\"")));
    assert_eq!(copy.raw_json(), body);
    assert_eq!(reread(&copy).to_json(), copy.to_json());
    assert!(copy.flag("ruled").unwrap().json().contains("33.330"));
    assert_eq!(copy.member("segments").unwrap().as_str(), r#"[{"id":1e0}]"#);
}

#[test]
fn the_stored_form_is_a_fixed_point() {
    for body in [
        BODY,
        "  {\n\t\"flags\" : [ ]\r\n , \"x\":1 }  ",
        r#"{"flags":[],"groupTypeMapping":{"0":"a"}}"#,
    ] {
        let set = api(body, Some("W/\"e\\\n\u{1}é\""));
        let copy = reread(&set);
        assert_eq!(copy.to_json(), set.to_json());
        assert_eq!(copy.copy_id(), set.copy_id());
        assert_eq!(copy.content_fingerprint(), set.content_fingerprint());
        assert_eq!(
            copy.to_json().as_ptr(),
            copy.to_json().as_ptr(),
            "it gives its own buffer"
        );
        assert_eq!(reread(&copy), set);
    }
}

#[test]
fn b2_19_the_etag_is_kept_byte_for_byte() {
    for etag in [
        "\"abc\"",
        "W/\"a\\b\"",
        "unquoted",
        " é\u{7f}\t",
        &"x".repeat(5000),
    ] {
        let set = api(BODY, Some(etag));
        assert_eq!(set.etag(), Some(etag));
        assert_eq!(reread(&set).etag(), Some(etag));
    }
    for none in [None, Some("")] {
        let set = api(BODY, none);
        assert_eq!(set.etag(), None);
        assert_eq!(reread(&set).etag(), None);
    }
}

#[test]
fn b3_38_etag_time_and_project_travel_with_the_copy() {
    let set = api(BODY, Some("\"e\""));
    let copy = reread(&set);
    assert_eq!(copy.fetched_at(), Some(fetched_at()));
    assert_eq!(copy.project(), Some(ProjectFingerprint::of("phc_test")));
    assert_ne!(copy.project(), Some(ProjectFingerprint::of("phc_other")));
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let early = FlagDefinitionCacheData::from_api_response(BODY, None, early, None).unwrap();
    assert_eq!(reread(&early).fetched_at(), Some(SystemTime::UNIX_EPOCH));
    assert_eq!(reread(&early).project(), None);
}

#[test]
fn b2_25_another_etag_makes_another_copy_of_the_same_content() {
    let set = api(BODY, Some("\"old\""));
    for set in [reread(&set), set] {
        let new = set.with_etag(Some("\"new\""));
        assert_eq!(new.etag(), Some("\"new\""));
        assert_eq!(new.fetched_at(), set.fetched_at());
        assert!(new.same_content(&set));
        assert!(new != set && new.copy_id() != set.copy_id() && new.head() != set.head());
        assert_eq!(reread(&new), new);
        assert_eq!(new.raw_json(), BODY);
        assert_eq!(set.with_etag(Some("")).etag(), None);
        assert_eq!(new.with_etag(Some("\"old\"")).copy_id(), set.copy_id());
    }
}

#[test]
fn b6_51_both_spellings_are_written() {
    let spellings = [
        ("group_type_mapping", "groupTypeMapping", r#"{"0":"a"}"#),
        (
            "minimal_flag_called_events",
            "minimalFlagCalledEvents",
            "true",
        ),
        ("property_matching_version", "propertyMatchingVersion", "2"),
    ];
    for (snake, camel, value) in spellings {
        for written in [snake, camel] {
            let set = api(&format!(r#"{{"flags":[],"{written}":{value}}}"#), None);
            let text = stored_text(&set);
            for name in [snake, camel] {
                assert_eq!(
                    text.matches(&format!(r#""{name}":{value}"#)).count(),
                    1,
                    "{text}"
                );
            }
            let copy = reread(&set);
            assert_eq!(
                copy.members().map(|(name, _)| name).collect::<Vec<_>>(),
                ["flags", written]
            );
        }
        let both = api(
            &format!(r#"{{"{camel}":{value},"flags":[],"{snake}":{value}}}"#),
            None,
        );
        assert_eq!(
            stored_text(&both).matches(camel).count(),
            1,
            "nothing is written twice"
        );
    }
    assert!(
        !stored_text(&set(r#"{"flags":[]}"#)).contains("Mapping"),
        "nothing is made up"
    );
}

#[test]
fn the_stored_form_is_the_api_object_for_any_json_reader() {
    let stored: Value =
        serde_json::from_slice(&api(BODY.replace("1e400", "1").as_str(), None).to_json()).unwrap();
    let body: Value = serde_json::from_str(&BODY.replace("1e400", "1")).unwrap();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&stored[name], value);
    }
    assert_eq!(stored["groupTypeMapping"], body["group_type_mapping"]);
    assert!(
        stored_text(&api(BODY, None)).starts_with(r#"{"_flagcache":{"schema":1,"fingerprint":""#)
    );
}

#[test]
fn the_head_identifies_the_copy() {
    let long = "x".repeat(1000);
    let set = api(BODY, Some(&long));
    assert_eq!(set.head(), set.to_json().slice(..HEAD_LEN));
    assert_eq!(reread(&set).head(), set.head());
    let short = api(r#"{"flags":[]}"#, None);
    assert_eq!(short.head(), short.to_json());
    assert_eq!(reread(&short).head(), short.head());

    let first_200 = String::from_utf8(set.head()[..200].to_vec()).unwrap();
    assert!(first_200.contains(&set.content_fingerprint().to_string()));
    assert!(first_200.contains("\"fetched_at\":1760000000123"));

    // What differs behind the head differs in it too.
    let other_etag = set.with_etag(Some(&format!("{}y", &long[1..])));
    assert_ne!(other_etag.head(), set.head());
    let other_flag = api(&BODY.replace("[0.1]", "[0.2]"), Some(&long));
    assert_ne!(other_flag.head(), set.head());
}

#[test]
fn b6_54_a_copy_of_another_sdk_loads() {
    let python =
        r#"{"flags": [{"key": "a"}], "group_type_mapping": {"0": "company"}, "cohorts": {}}"#;
    let node = r#"{"flags":[{"key":"a"}],"groupTypeMapping":{"0":"company"},"cohorts":{}}"#;
    for json in [python, node] {
        let set = set(json);
        assert_eq!(
            (set.etag(), set.fetched_at(), set.project()),
            (None, None, None)
        );
        assert_eq!(
            set.group_type_mapping().deserialize::<Value>().unwrap()["0"],
            "company"
        );
    }
    assert!(set(python).diff(&set(node)).is_empty());
}

#[test]
fn b6_54_an_edited_copy_keeps_its_definitions_and_loses_its_metadata() {
    let stored = stored_text(&api(BODY, Some("\"e\"")));
    let edited = set(&stored.replacen("\"active\": true", "\"active\": false", 1));
    assert!(
        edited
            .flag("checkout")
            .unwrap()
            .json()
            .contains("\"active\": false")
    );
    assert_eq!(
        (edited.etag(), edited.fetched_at(), edited.project()),
        (None, None, None)
    );

    // The envelope itself, an alias, a member behind the aliases.
    let unquote = &stored[..stored.len() - 1];
    let edits = [
        stored.replacen("\\\"e\\\"", "\\\"f\\\"", 1),
        stored.replacen("1760000000123", "1760000000124", 1),
        stored.replacen("\"project\":", "\"project\":null,\"was\":", 1),
        stored.replacen("\"schema\":1", "\"schema\":\"1\"", 1),
        stored.replacen("\"schema\":1", "\"schema\":0", 1),
        stored.replacen("\"fingerprint\":\"", "\"fingerprint\":\"0", 1),
        stored.replacen("\"length\":", "\"length\":1", 1),
        stored.replacen("\"check\"", "\"Check\"", 1),
    ];
    for edit in edits {
        assert_ne!(edit, stored);
        assert_without_metadata(&set(&edit));
    }
    let moved = set(&stored.replacen(
        "\"groupTypeMapping\":{\"0\": \"company\"}",
        "\"groupTypeMapping\":{}",
        1,
    ));
    assert_eq!(moved.etag(), None);
    assert_eq!(moved.group_type_mapping().as_str(), "{\"0\": \"company\"}");
    let emptied = set(&format!(r#"{unquote},"flags":[]}}"#));
    assert!(
        emptied.is_empty() && emptied.etag().is_none(),
        "the last member counts, as for every other reader"
    );
    for envelope in [
        "null",
        "7",
        "{}",
        "[]",
        r#"{"schema":1}"#,
        r#"{"schema":-1,"schema":1}"#,
    ] {
        assert_without_metadata(&set(&BODY.replacen(
            '{',
            &format!(r#"{{"_flagcache":{envelope},"#),
            1,
        )));
    }
}

#[test]
fn b6_54_a_reformatted_or_reordered_copy_keeps_its_definitions_and_loses_its_metadata() {
    let stored = stored_text(&api(
        &BODY.replace("1e400", "1").replace("000000000000001", ""),
        Some("\"e\""),
    ));
    // Sorts the members and normalises numbers and escapes, as a document store does.
    let value: Value = serde_json::from_str(&stored).unwrap();
    for json in [
        serde_json::to_string(&value).unwrap(),
        serde_json::to_string_pretty(&value).unwrap(),
    ] {
        let set = set(&json);
        assert_eq!(
            (set.etag(), set.fetched_at(), set.project()),
            (None, None, None)
        );
        assert!(set.diff(&crate::set(&stored)).is_empty());
        assert_eq!(reread(&set), set);
    }
    // The envelope behind the members, and two of them.
    let (envelope, rest) = stored[1..].split_once(",\"flags\"").unwrap();
    let last = format!("{{\"flags\"{},{envelope}}}", &rest[..rest.len() - 1]);
    let twice = format!("{{{envelope},{envelope},\"flags\"{rest}");
    for json in [last, twice] {
        let set = set(&json);
        assert_eq!(set.etag(), None);
        assert!(set.members().all(|(name, _)| name != "_flagcache"));
        assert_eq!(reread(&set), set);
    }
}

#[test]
fn spacing_outside_the_members_and_unknown_envelope_members_are_accepted() {
    let set = api(BODY, Some("\"e\""));
    let stored = stored_text(&set);
    let spaced = format!(" {}\n", stored.replacen("},\"flags\"", "} ,\n\"flags\"", 1));
    let extended = stored.replacen("\"schema\":1,", "\"schema\":1,\"writer\":{\"v\":[1]},", 1);
    for json in [spaced, extended] {
        let copy = crate::set(&json);
        assert_eq!(copy, set);
        assert_eq!(copy.raw_json(), BODY);
        assert_eq!(copy.to_json(), json, "it gives its own buffer");
        assert_eq!(copy.head(), json.as_bytes()[..HEAD_LEN]);
    }
}

#[test]
fn an_envelope_in_an_api_body_is_not_trusted() {
    let stored = stored_text(&api(BODY, Some("\"stale\"")));
    let set = api(&stored, Some("\"fresh\""));
    assert_eq!(set.etag(), Some("\"fresh\""));
    assert!(set.member("_flagcache").is_none());
    assert_eq!(reread(&set), set);
    let bare =
        FlagDefinitionCacheData::from_api_response(stored, None, fetched_at(), None).unwrap();
    assert_eq!((bare.etag(), bare.project()), (None, None));
}
