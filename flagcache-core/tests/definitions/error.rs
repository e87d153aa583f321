//! What is refused, and what the error says.

use std::error::Error;

use bytes::Bytes;
use flagcache_core::DataErrorKind::{
    BadFlag, BadMember, FlagsMissing, FlagsNotAList, NewerSchema, NotAnObject, NotJson, OtherFeed,
    TooLarge,
};
use flagcache_core::{
    DataError, DataErrorKind, FlagDefinitionCacheData, ProviderError, ProviderErrorKind,
};

use crate::fetched_at;

fn refused(json: impl Into<Bytes>) -> DataError {
    let json = json.into();
    let error = FlagDefinitionCacheData::from_json(json.clone()).unwrap_err();
    let as_body =
        FlagDefinitionCacheData::from_api_response(json, None, fetched_at(), None).unwrap_err();
    assert_eq!(
        error.kind(),
        as_body.kind(),
        "a stored copy and an API body are held to the same shape"
    );
    error
}

#[test]
fn b2_22_a_wrong_shape_is_refused() {
    let cases: &[(&str, DataErrorKind)] = &[
        ("", NotJson),
        ("   ", NotJson),
        ("{", NotJson),
        ("[]", NotAnObject),
        ("null", NotAnObject),
        ("7", NotAnObject),
        (r#""flags""#, NotAnObject),
        ("{}", FlagsMissing),
        (r#"{"Flags":[]}"#, FlagsMissing),
        (r#"{"flags":null}"#, FlagsNotAList),
        (r#"{"flags":"x"}"#, FlagsNotAList),
        (r#"{"flags":{}}"#, FlagsNotAList),
        (r#"{"flags":[1,2]}"#, BadFlag),
        (r#"{"flags":[null]}"#, BadFlag),
        (r#"{"flags":["x"]}"#, BadFlag),
        (r#"{"flags":[[]]}"#, BadFlag),
        (r#"{"flags":[{}]}"#, BadFlag),
        (r#"{"flags":[{"key":null}]}"#, BadFlag),
        (r#"{"flags":[{"key":7}]}"#, BadFlag),
        (r#"{"flags":[{"key":"a"},{"Key":"b"}]}"#, BadFlag),
        (r#"{"flags":[],"group_type_mapping":[7]}"#, BadMember),
        (r#"{"flags":[],"cohorts":["x"]}"#, BadMember),
        (r#"{"flags":[],"groupTypeMapping":"x"}"#, BadMember),
        (r#"{"flags":[],"cohorts":7}"#, BadMember),
    ];
    for (json, kind) in cases {
        assert_eq!(refused(*json).kind(), *kind, "{json}");
    }
}

#[test]
fn b2_21_broken_text_is_refused() {
    let cases: &[&[u8]] = &[
        b"{\"flags\":[{\"key\":\"\xff\"}]}",
        b"\xef\xbb\xbf{\"flags\":[]}",
        b"{\"flags\":[]} x",
        b"{\"flags\":[]}{}",
        b"{\"flags\":[],}",
        b"{\"flags\":[{\"key\":\"a\"},]}",
        b"{\"flags\":[{\"key\":\"a\"}",
        b"{\"flags\":[],\"a\\ud800\":1}",
        b"{\"flags\":[{\"key\":\"a\",\"n\":01}]}",
        b"{\"flags\":[{\"key\":\"a\",\"s\":\"\x01\"}]}",
        b"{'flags':[]}",
        b"<html>502 Bad Gateway</html>",
    ];
    for json in cases {
        assert_eq!(
            refused(*json).kind(),
            NotJson,
            "{}",
            String::from_utf8_lossy(json)
        );
    }
}

#[test]
fn every_cut_of_a_stored_copy_is_refused() {
    let whole = crate::api(crate::BODY, Some("\"e\"")).to_json();
    for end in 0..whole.len() {
        assert_eq!(refused(whole.slice(..end)).kind(), NotJson, "cut at {end}");
    }
}

#[test]
fn a_lone_surrogate_is_refused_in_a_key_and_kept_elsewhere() {
    assert_eq!(refused(r#"{"flags":[{"key":"\ud800"}]}"#).kind(), BadFlag);
    let set = crate::set(r#"{"flags":[{"key":"a","name":"\ud800"}]}"#);
    assert_eq!(
        set.flag("a").unwrap().json(),
        r#"{"key":"a","name":"\ud800"}"#
    );
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let depth = 100_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    assert_eq!(refused(open.clone()).kind(), NotAnObject);
    assert_eq!(refused(format!(r#"{{"flags":{open}"#)).kind(), BadFlag);
    assert_eq!(
        refused(format!(r#"{{"flags":[],"x":{open}"#)).kind(),
        NotJson
    );
    let set = crate::set(&format!(
        r#"{{"flags":[{{"key":"a","deep":{open}{close}}}],"x":{open}{close}}}"#
    ));
    assert_eq!(
        crate::set(&crate::stored_text(&set)).raw_json(),
        set.raw_json()
    );
    let other = crate::set(&format!(
        r#"{{"flags":[{{"key":"a","deep":{open} 1 {close}}}]}}"#
    ));
    assert_eq!(other.diff(&set).changed, ["a"]);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn four_gibibytes_are_refused_unread() {
    // Zero pages that no code touches.
    let error = FlagDefinitionCacheData::from_json(vec![0_u8; 1 << 32]).unwrap_err();
    assert_eq!(error.kind(), TooLarge);
}

#[test]
fn the_error_says_where_and_not_what() {
    let cases = [
        (
            r#"{"flags":[{"key":"a"},{"key":"b"},{"key":"c"},"s3cret"]}"#,
            "flags[3]: not an object",
        ),
        (
            r#"{"flags":[{"key":"a"},{"key":{"s3cret":1}}]}"#,
            "flags[1]: `key` is not a string",
        ),
        (
            r#"{"flags":[{"key":"s3cret\ud800"}]}"#,
            "flags[0]: `key` has an escape that is no character",
        ),
        (
            r#"{"flags":[{"name":"s3cret"}]}"#,
            "flags[0]: there is no `key`",
        ),
        (
            r#"{"flags":"s3cret"}"#,
            "`flags` is not a list (line 1 column 17)",
        ),
        (
            r#"{"flags":[],"cohorts":"s3cret"}"#,
            "member `cohorts`: not an object",
        ),
        (
            "{\"flags\":[\n{\"s3cret\":1 2}]}",
            "not JSON at line 2 column 13, in flags[0]",
        ),
        (r#"{"s3cret":1 2}"#, "not JSON at line 1 column 13"),
        (
            "\u{feff}{\"flags\":[]}",
            "starts with a byte order mark; store it without",
        ),
        ("\"s3cret\"", "the top level is not an object"),
    ];
    for (json, message) in cases {
        let error = refused(json);
        assert_eq!(error.to_string(), message, "{json}");
        let mut chain = format!("{error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push_str(&format!("{error} {error:?}"));
            cause = error.source();
        }
        assert!(!chain.contains("s3cret"), "{chain}");
    }
    let error = refused(&b"{\"flags\":[\"\xff\"]}"[..]);
    assert_eq!(error.to_string(), "not UTF-8 at byte 11");
}

#[test]
fn a_boxed_data_error_of_a_provider_keeps_its_kind() {
    let boxed =
        |json: &'static str| -> Box<dyn Error + Send + Sync> { refused(json.as_bytes()).into() };
    let error = ProviderError::from_error(boxed("{"));
    assert_eq!(error.kind(), ProviderErrorKind::InvalidData);
    assert!(error.source().unwrap().is::<DataError>());
    let passed_on = ProviderError::from_error(error);
    assert_eq!(passed_on.kind(), ProviderErrorKind::InvalidData);
    assert_eq!(
        ProviderError::from_error("out of ink").kind(),
        ProviderErrorKind::Other
    );
}

#[test]
fn b6_54_a_newer_schema_is_refused() {
    let stored = crate::stored_text(&crate::api(crate::BODY, None));
    let newer = stored.replacen("\"schema\":1,", "\"schema\":2,\"new\":{},", 1);
    let error = FlagDefinitionCacheData::from_json(newer.clone()).unwrap_err();
    assert_eq!(error.kind(), NewerSchema);
    assert!(error.to_string().contains("schema 2"), "{error}");
    let error = ProviderError::from(error);
    assert_eq!(error.kind(), ProviderErrorKind::InvalidData);
    assert!(error.source().unwrap().is::<DataError>());
    // The API has no schema of ours: the member is dropped, whatever it says.
    let body = FlagDefinitionCacheData::from_api_response(newer, None, fetched_at(), None).unwrap();
    assert!(body.member("_flagcache").is_none());
}

#[test]
fn b6_54_a_copy_of_another_feed_is_refused() {
    let stored = crate::stored_text(&crate::api(crate::BODY, None));
    assert!(!stored.contains("feed"), "today's feed is not named");
    for (named, is_read) in [
        ("2", false),
        (r#""v2""#, false),
        ("1", true),
        ("null", true),
    ] {
        let envelope = format!(r#""schema":1,"feed":{named},"#);
        let copy = stored.replacen(r#""schema":1,"#, &envelope, 1);
        match FlagDefinitionCacheData::from_json(copy) {
            Ok(_) => assert!(is_read, "{named}"),
            Err(error) => {
                assert_eq!((error.kind(), is_read), (OtherFeed, false), "{named}");
                assert!(
                    error.to_string().contains("service name of their own"),
                    "{error}"
                );
                assert_eq!(
                    ProviderError::from(error).kind(),
                    ProviderErrorKind::InvalidData
                );
            }
        }
    }
}
