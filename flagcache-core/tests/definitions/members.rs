//! Reading flags and members.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use flagcache_core::{DataErrorKind, Flag, FlagDefinitionCacheData};
use serde::Deserialize;

use crate::{BODY, api, fetched_at, set};

#[test]
fn flags_are_listed_in_order_and_found_by_key() {
    let set =
        set(" {\n \"flags\" : [ {\"key\":\"b\"} ,\t{ \"x\" : [ { } ] , \"key\" : \"a\" } ] } ");
    assert_eq!(set.len(), 2);
    assert_eq!(
        set.flags().map(|flag| flag.key()).collect::<Vec<_>>(),
        ["b", "a"]
    );
    assert_eq!(
        set.flag("a").unwrap().json(),
        r#"{ "x" : [ { } ] , "key" : "a" }"#
    );
    assert_eq!(set.flag("b").unwrap().json(), r#"{"key":"b"}"#);
    assert!(set.flag("c").is_none());
}

#[test]
fn escaped_names_and_keys_are_found_by_what_they_mean() {
    let json = r#"{"\u0066lags":[{"\u006bey":"caf\u00e9 \"x\" \\","v":1},{"q\"":"\\\"","key":"z"}],"co\u0068orts":{"1":{}}}"#;
    let set = set(json);
    assert_eq!(
        set.flag("café \"x\" \\").unwrap().json(),
        r#"{"\u006bey":"caf\u00e9 \"x\" \\","v":1}"#
    );
    assert_eq!(set.flag("z").unwrap().json(), r#"{"q\"":"\\\"","key":"z"}"#);
    assert_eq!(set.cohorts().as_str(), r#"{"1":{}}"#);
    assert_eq!(
        set.members().map(|(name, _)| name).collect::<Vec<_>>(),
        ["flags", "cohorts"]
    );
}

#[test]
fn of_two_with_one_name_the_last_counts() {
    let set = set(concat!(
        r#"{"flags":[{"key":"gone"}],"cohorts":{"1":{}},"x":1,"#,
        r#""flags":[{"key":"a","v":1},{"key":"b"},{"key":"a","v":2},{"key":"no","key":"c"}],"cohorts":{"2":{}},"x":2}"#
    ));
    assert!(set.flag("gone").is_none() && set.flag("no").is_none());
    assert_eq!(set.flag("a").unwrap().json(), r#"{"key":"a","v":2}"#);
    assert!(set.flag("c").is_some());
    assert_eq!(set.cohorts().as_str(), r#"{"2":{}}"#);
    assert_eq!(set.member("x").unwrap().as_str(), "2");
}

#[test]
fn b2_23_empty_definitions_are_valid() {
    let set = set(r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#);
    assert!(set.is_empty());
    assert_eq!((set.len(), set.flags().len()), (0, 0));
    assert!(crate::set(&crate::stored_text(&set)).is_empty());
    assert!(!crate::set(r#"{"flags":[{"key":"a"}]}"#).is_empty());
}

#[test]
fn b2_24_absent_members_are_empty_objects() {
    for json in [
        r#"{"flags":[]}"#,
        r#"{"flags":[],"group_type_mapping":null,"cohorts":null}"#,
    ] {
        let set = set(json);
        assert_eq!(
            (set.group_type_mapping().as_str(), set.cohorts().as_str()),
            ("{}", "{}")
        );
        assert!(
            set.cohorts()
                .deserialize::<HashMap<String, ()>>()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn b6_51_both_spellings_are_read_and_snake_case_wins() {
    let camel = set(
        r#"{"flags":[],"groupTypeMapping":{"0":"a"},"minimalFlagCalledEvents":true,"propertyMatchingVersion":2}"#,
    );
    assert_eq!(camel.group_type_mapping().as_str(), r#"{"0":"a"}"#);
    assert!(camel.minimal_flag_called_events());
    assert_eq!(camel.property_matching_version(), Some(2));

    let both = set(concat!(
        r#"{"flags":[],"group_type_mapping":{"0":"snake"},"minimal_flag_called_events":false,"property_matching_version":1,"#,
        r#""groupTypeMapping":{"0":"camel"},"minimalFlagCalledEvents":true,"propertyMatchingVersion":2}"#
    ));
    assert_eq!(both.group_type_mapping().as_str(), r#"{"0":"snake"}"#);
    assert!(!both.minimal_flag_called_events());
    assert_eq!(both.property_matching_version(), Some(1));

    let null = set(r#"{"flags":[],"group_type_mapping":null,"groupTypeMapping":{"0":"camel"}}"#);
    assert_eq!(
        null.group_type_mapping().as_str(),
        r#"{"0":"camel"}"#,
        "null counts as absent"
    );
}

#[test]
fn b6_52_the_matching_version_is_read_and_never_made_up() {
    let version = |json: &str| set(&format!(r#"{{"flags":[]{json}}}"#)).property_matching_version();
    assert_eq!(version(r#","property_matching_version":2"#), Some(2));
    assert_eq!(
        version(r#","property_matching_version":18446744073709551615"#),
        Some(u64::MAX)
    );
    for none in [
        "",
        r#","property_matching_version":null"#,
        r#","property_matching_version":"2""#,
    ] {
        assert_eq!(version(none), None, "{none}");
    }
    assert_eq!(version(r#","property_matching_version":-1"#), None);
}

#[test]
fn b9_73_an_empty_list_is_decoded_as_a_mapping_and_a_double_as_an_integer() {
    let php = set(
        r#"{"cohorts": [], "flags":[{"key":"a"}], "groupTypeMapping" : ["company", null, "proj\/ect"], "property_matching_version":2.0, "x": [1.0]}"#,
    );
    assert_eq!(
        php.group_type_mapping().as_str(),
        r#"{"0":"company","2":"proj\/ect"}"#
    );
    assert_eq!(php.cohorts().as_str(), "{}");
    assert_eq!(php.property_matching_version(), Some(2));
    assert_eq!(
        php.member("x").unwrap().as_str(),
        "[1.0]",
        "all else stays as it is"
    );
    assert_eq!(crate::set(&crate::stored_text(&php)), php);

    for version in ["2.0", "2.00", "2e0", "0.2E1"] {
        let set = set(&format!(
            r#"{{"flags":[],"property_matching_version":{version}}}"#
        ));
        assert_eq!(set.property_matching_version(), Some(2), "{version}");
    }
    for version in ["2.5", "-2.0", "1e300", "\"2.0\""] {
        let set = set(&format!(
            r#"{{"flags":[],"property_matching_version":{version}}}"#
        ));
        assert_eq!(set.property_matching_version(), None, "{version}");
    }
    let cohorts = set(r#"{"flags":[],"cohorts":[{"type":"AND","values":[]}]}"#);
    assert_eq!(
        cohorts.cohorts().as_str(),
        r#"{"0":{"type":"AND","values":[]}}"#
    );
}

#[test]
fn b9_73_the_same_spellings_from_the_api_or_an_older_release_are_normalized_too() {
    let api = crate::api(
        r#"{"flags":[],"group_type_mapping":["company"],"cohorts":[]}"#,
        Some("\"1\""),
    );
    assert_eq!(api.etag(), Some("\"1\""));
    assert_eq!(api.group_type_mapping().as_str(), r#"{"0":"company"}"#);
    // Ours, decoded and encoded again by PHP: the envelope no longer fits, the definitions do.
    let stored = crate::stored_text(&api)
        .replace(r#"{"0":"company"}"#, r#"["company"]"#)
        .replace("\"cohorts\":{}", "\"cohorts\":[]");
    let copy = crate::set(&stored);
    assert_eq!(
        (copy.etag(), copy.group_type_mapping().as_str()),
        (None, r#"{"0":"company"}"#)
    );
}

#[test]
fn b6_53_only_true_enables_minimal_events() {
    let gate = |json: &str| {
        set(&format!(
            r#"{{"flags":[],"minimal_flag_called_events":{json}}}"#
        ))
    };
    for json in ["false", "1", "\"true\"", "null", "{}", "[true]"] {
        assert!(!gate(json).minimal_flag_called_events(), "{json}");
    }
    let open = gate("true");
    assert!(open.minimal_flag_called_events());
    assert!(
        crate::set(&crate::stored_text(&open)).minimal_flag_called_events(),
        "it travels with the set"
    );
    assert!(!set(r#"{"flags":[]}"#).minimal_flag_called_events());
}

#[test]
fn values_decode_and_may_borrow() {
    #[derive(Deserialize)]
    struct Checkout<'a> {
        id: u64,
        #[serde(borrow)]
        key: &'a str,
    }
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        flags: Vec<HashMap<&'a str, &'a serde_json::value::RawValue>>,
        quota: u64,
        #[serde(alias = "propertyMatchingVersion")]
        property_matching_version: u64,
    }
    let api = api(BODY, None);
    for set in [
        api.clone(),
        FlagDefinitionCacheData::from_json(api.to_json()).unwrap(),
    ] {
        let flag: Checkout<'_> = set.flag("checkout").unwrap().deserialize().unwrap();
        assert_eq!((flag.id, flag.key), (9_007_199_254_740_993, "checkout"));
        let whole: Whole<'_> = set.deserialize().unwrap();
        assert_eq!(
            (
                whole.flags.len(),
                whole.quota,
                whole.property_matching_version
            ),
            (2, u64::MAX, 2)
        );
        assert!(set.deserialize::<HashMap<String, bool>>().is_err());
        let members: HashMap<&str, serde::de::IgnoredAny> = set.deserialize().unwrap();
        assert_eq!(members.len(), set.members().len());
    }
}

#[test]
fn debug_shows_no_payload() {
    let set = api(
        r#"{"flags":[{"key":"a","name":"s3cret"}],"cohorts":{"1":"s3cret"}}"#,
        Some("\"etag\""),
    );
    let flag = set.flag("a").unwrap();
    let shown = format!("{set:?} {flag:?} {:?}", set.cohorts());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(
        shown.contains("flags: 1") && shown.contains("etag"),
        "{shown}"
    );
}

#[test]
fn a_clone_shares_the_buffer() {
    let set = api(BODY, None);
    let clone = set.clone();
    let at = |flag: Flag<'_>| flag.json().as_ptr();
    assert_eq!(
        at(set.flag("checkout").unwrap()),
        at(clone.flag("checkout").unwrap())
    );
    let relabelled = set.with_etag(Some("\"new\""));
    assert_eq!(
        at(set.flag("checkout").unwrap()),
        at(relabelled.flag("checkout").unwrap())
    );
}

#[test]
fn a_buffer_with_one_handle_is_taken_over() {
    let body = BODY.to_owned().into_bytes();
    let at = body.as_ptr();
    let set = FlagDefinitionCacheData::from_api_response(body, None, fetched_at(), None).unwrap();
    assert_eq!(set.raw_json().as_ptr(), at);
}

/// Two sizes of set: one that is read on the spot, one that is not.
fn small_and_large() -> [String; 2] {
    [
        BODY.to_owned(),
        format!(
            r#"{{"flags":[{{"key":"a","pad":"{}"}}]}}"#,
            "x".repeat(1 << 20)
        ),
    ]
}

/// Whether a future is ready without another task.
fn is_ready_at_once<F: Future>(future: F) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context).is_ready()
}

#[tokio::test]
async fn decoding_gives_the_same_and_leaves_the_runtime_thread_free() {
    let [small, large] = small_and_large();
    for json in [&small, &large] {
        let set = FlagDefinitionCacheData::decode(json.clone()).await.unwrap();
        assert_eq!(set, crate::set(json));
        let set = FlagDefinitionCacheData::decode_api_response(
            json.clone(),
            Some("\"e\""),
            fetched_at(),
            None,
        )
        .await;
        assert_eq!(set.unwrap().etag(), Some("\"e\""));
    }
    assert!(
        FlagDefinitionCacheData::decode(" ".repeat(1 << 20))
            .await
            .is_err()
    );
    assert!(is_ready_at_once(FlagDefinitionCacheData::decode(small)));
    assert!(!is_ready_at_once(FlagDefinitionCacheData::decode(large)));
}

#[test]
fn decoding_needs_no_runtime() {
    for json in small_and_large() {
        assert!(is_ready_at_once(FlagDefinitionCacheData::decode(json)));
    }
}

#[test]
fn a_runtime_that_stops_is_an_error_and_no_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let [_, large] = small_and_large();
    let mut decode = pin!(FlagDefinitionCacheData::decode(large));
    let _inside = handle.enter();
    let Poll::Ready(result) = decode
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("nothing was left to wait for");
    };
    assert_eq!(result.unwrap_err().kind(), DataErrorKind::Interrupted);
}
