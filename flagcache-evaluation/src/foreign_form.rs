//! Flags as other languages and document stores write them.

use posthog_rs::FeatureFlag;
use serde_json::{Map, Value};

/// The flag, if it differs from the API's form only in what PHP and document stores cannot write: an empty mapping is `[]`
/// to PHP's `json_encode`, and a document store returns whole numbers as doubles.
pub(crate) fn decode(json: &str) -> Option<FeatureFlag> {
    let mut flag: Value = serde_json::from_str(json).ok()?;
    let filters = flag.get_mut("filters")?;
    if is_empty_list(filters) {
        *filters = Value::Object(Map::new());
    }
    for name in ["payloads", "multivariate"] {
        if let Some(member) = filters.get_mut(name).filter(|member| is_empty_list(member)) {
            *member = if name == "payloads" {
                Value::Object(Map::new())
            } else {
                Value::Null
            };
        }
    }
    make_index_whole(filters);
    if let Some(Value::Array(groups)) = filters.get_mut("groups") {
        groups.iter_mut().for_each(make_index_whole);
    }
    serde_json::from_value(flag).ok()
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// An index of a group type is a small number, so the cast loses nothing.
fn make_index_whole(filters: &mut Value) {
    let Some(index) = filters.get_mut("aggregation_group_type_index") else {
        return;
    };
    if let Some(number) = index
        .as_f64()
        .filter(|number| index.is_f64() && number.fract() == 0.0 && number.abs() < 1e9)
    {
        *index = Value::from(number as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b9_73_a_flag_of_php_or_of_a_document_store_is_decoded() {
        let json = r#"{"key":"a","active":true,"filters":{"groups":[{"properties":[],"rollout_percentage":100.0,
            "aggregation_group_type_index":1.0}],"payloads":[],"multivariate":[],"aggregation_group_type_index":0.0}}"#;
        assert!(serde_json::from_str::<FeatureFlag>(json).is_err());
        let flag = decode(json).unwrap();
        assert_eq!(flag.filters.aggregation_group_type_index, Some(0));
        assert_eq!(flag.filters.groups[0].aggregation_group_type_index, Some(1));
        assert!(flag.filters.payloads.is_empty() && flag.filters.multivariate.is_none());
    }

    #[test]
    fn what_is_wrong_in_another_way_stays_an_error() {
        for json in [
            r#"{"key":"a","active":true,"filters":{"payloads":["x"]}}"#,
            r#"{"key":"a","active":true,"filters":{"aggregation_group_type_index":0.5}}"#,
            r#"{"key":"a","active":1}"#,
        ] {
            assert!(decode(json).is_none(), "{json}");
        }
    }
}
