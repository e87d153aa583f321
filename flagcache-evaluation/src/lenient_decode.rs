//! [`decode`]: decodes flags with the deviations that PHP and document stores introduce.

use posthog_rs::FeatureFlag;
use serde_json::{Map, Value};

/// Decodes a flag. Accepts an empty list for an empty object, as PHP's `json_encode` writes it, and doubles for
/// integers, as document stores return them. `None` if anything else is wrong.
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
    convert_index(filters);
    if let Some(Value::Array(groups)) = filters.get_mut("groups") {
        groups.iter_mut().for_each(convert_index);
    }
    serde_json::from_value(flag).ok()
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// Converts a group type index from a double to an integer. Indexes are small, so the cast is lossless.
fn convert_index(filters: &mut Value) {
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
    fn b9_73_flags_from_php_and_document_stores_are_decoded() {
        let json = r#"{"key":"a","active":true,"filters":{"groups":[{"properties":[],"rollout_percentage":100.0,
            "aggregation_group_type_index":1.0}],"payloads":[],"multivariate":[],"aggregation_group_type_index":0.0}}"#;
        assert!(serde_json::from_str::<FeatureFlag>(json).is_err());
        let flag = decode(json).unwrap();
        assert_eq!(flag.filters.aggregation_group_type_index, Some(0));
        assert_eq!(flag.filters.groups[0].aggregation_group_type_index, Some(1));
        assert!(flag.filters.payloads.is_empty() && flag.filters.multivariate.is_none());
    }

    #[test]
    fn other_deviations_are_rejected() {
        for json in [
            r#"{"key":"a","active":true,"filters":{"payloads":["x"]}}"#,
            r#"{"key":"a","active":true,"filters":{"aggregation_group_type_index":0.5}}"#,
            r#"{"key":"a","active":1}"#,
        ] {
            assert!(decode(json).is_none(), "{json}");
        }
    }
}
