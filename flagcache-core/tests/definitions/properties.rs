//! What holds for any set and for any bytes.

use flagcache_core::FlagDefinitionCacheData;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::fetched_at;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    vec((any::<String>(), any_json()), 0..4).prop_map(|members| members.into_iter().collect())
}

prop_compose! {
    fn any_flag()(key in any::<String>(), mut flag in any_object()) -> Value {
        flag.insert("key".to_owned(), key.into());
        Value::Object(flag)
    }
}

/// A double without a fraction, such as `2.0`. As a version it is stored as the integer (see the test of it below).
fn is_whole_double(value: &Value) -> bool {
    value.is_f64() && value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

prop_compose! {
    fn any_body()(
        flags in vec(any_flag(), 0..6),
        mut others in any_object(),
        group_types in proptest::option::of(any_object()),
        cohorts in proptest::option::of(any_object()),
        version in any_json().prop_filter("is repaired", |version| !is_whole_double(version)),
        names in (any::<bool>(), any::<bool>()),
        is_pretty in any::<bool>(),
    ) -> String {
        others.remove("_flagcache");
        others.insert("flags".to_owned(), flags.into());
        others.insert(if names.0 { "group_type_mapping" } else { "groupTypeMapping" }.to_owned(), json!(group_types));
        others.insert("cohorts".to_owned(), json!(cohorts));
        others.insert(
            if names.1 { "property_matching_version" } else { "propertyMatchingVersion" }.to_owned(),
            version,
        );
        let body = Value::Object(others);
        if is_pretty { format!("{body:#}") } else { body.to_string() }
    }
}

/// Bytes that come close: pieces of a stored copy in any order, with any bytes between.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 16] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"flags\":[",
        b"{\"key\":\"a\"}",
        b"\"key\"",
        b"\"_flagcache\":{\"schema\":1}",
        b"\"\\u00",
        b"\\",
        b"\"",
        b"\"cohorts\":null",
        b" ",
        b"-1.5e9",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Everything that can be asked of a set that was accepted.
fn exercise(set: &FlagDefinitionCacheData) {
    let copy = FlagDefinitionCacheData::from_json(set.to_json()).unwrap();
    assert_eq!(&copy, set);
    assert_eq!(copy.to_json(), set.to_json());
    assert_eq!(
        set.head(),
        set.to_json()
            .slice(..set.to_json().len().min(flagcache_core::HEAD_LEN))
    );
    assert_eq!(copy.head(), set.head());
    assert_eq!(copy.copy_id(), set.copy_id());
    assert!(set.diff(&copy).is_empty());
    assert_eq!(copy.members().count(), set.members().count());
    for flag in set.flags() {
        assert!(set.flag(flag.key()).is_some());
        let key: Value = flag
            .deserialize::<Map<String, Value>>()
            .unwrap_or_default()
            .remove("key")
            .unwrap_or_default();
        assert!(key.is_null() || key == flag.key());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn b6_50_any_body_survives_a_round_trip(body in any_body(), etag in proptest::option::of(any::<String>())) {
        let set =
            FlagDefinitionCacheData::from_api_response(body.clone(), etag.as_deref(), fetched_at(), None).unwrap();
        exercise(&set);
        prop_assert_eq!(set.raw_json(), body.clone());
        let copy = FlagDefinitionCacheData::from_json(set.to_json()).unwrap();
        prop_assert_eq!(copy.etag(), etag.as_deref().filter(|etag| !etag.is_empty()));
        let body: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(copy.deserialize::<Value>().unwrap(), body.clone());
        prop_assert_eq!(set.len(), body["flags"].as_array().unwrap().len());
    }

    #[test]
    fn b6_50_a_whole_double_as_a_version_is_stored_as_the_integer(
        version in prop_oneof![1 => Just(0), 3 => 0..=1_u64 << 53], is_negative in any::<bool>(),
    ) {
        let sign = if is_negative && version == 0 { "-" } else { "" };
        let body = format!(r#"{{"flags":[],"property_matching_version":{sign}{version}.0}}"#);
        let set = FlagDefinitionCacheData::from_api_response(body, None, fetched_at(), None).unwrap();
        exercise(&set);
        prop_assert_eq!(set.property_matching_version(), Some(version));
        prop_assert_eq!(set.raw_json(), format!(r#"{{"flags":[],"property_matching_version":{version}}}"#));
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop_oneof![vec(any::<u8>(), 0..64), near_misses()]) {
        if let Ok(set) = FlagDefinitionCacheData::from_json(bytes.clone()) {
            exercise(&set);
        }
        if let Ok(set) = FlagDefinitionCacheData::from_api_response(bytes, Some("e"), fetched_at(), None) {
            exercise(&set);
        }
    }

    #[test]
    fn any_edit_of_a_stored_copy_keeps_the_etag_only_with_its_content(
        body in any_body(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let set = FlagDefinitionCacheData::from_api_response(body, Some("e"), fetched_at(), None).unwrap();
        let mut bytes = set.to_json().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(edited) = FlagDefinitionCacheData::from_json(bytes) {
            exercise(&edited);
            if edited.etag().is_some() {
                prop_assert_eq!(edited, set);
            }
        }
    }
}
