//! Functions that read JSON values, with the leniency of the other SDKs.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Decodes an object, without its values.
pub(super) fn object(json: &str) -> Result<HashMap<String, &RawValue>, String> {
    serde_json::from_str(json).map_err(|_| "the definition is not an object".to_owned())
}

/// Decodes a member of an object; the default if it is absent or of another type.
pub(super) fn decoded<'a, T: serde::Deserialize<'a> + Default>(
    object: &HashMap<String, &'a RawValue>,
    name: &str,
) -> T {
    object
        .get(name)
        .and_then(|json| serde_json::from_str(json.get()).ok())
        .unwrap_or_default()
}

/// A member of an object; `null` if it is absent.
pub(super) fn value(object: &HashMap<String, &RawValue>, name: &str) -> Result<Value, String> {
    let Some(json) = object.get(name) else {
        return Ok(Value::Null);
    };
    serde_json::from_str(json.get()).map_err(|_| format!("`{name}` is nested too deeply"))
}

/// Replaces values that other SDKs treat as absent by `null`.
pub(super) trait OrAbsent: Sized {
    fn or_absent(self, name: &str) -> Result<Self, String>;
}

impl OrAbsent for Value {
    fn or_absent(self, name: &str) -> Result<Self, String> {
        match self {
            Self::Null | Self::Bool(false) => Ok(Self::Null),
            Self::Array(values) if values.is_empty() => Ok(Self::Null),
            object @ Self::Object(_) => Ok(object),
            _ => Err(format!("`{name}` is not an object")),
        }
    }
}

/// A boolean; `false` if it is `null`.
pub(super) fn boolean(json: &Value, name: &str) -> Result<bool, String> {
    match json {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        _ => Err(format!("`{name}` is not a boolean")),
    }
}

/// A list; empty if it is absent, `null` or `false`.
pub(super) fn list<'a>(json: Option<&'a Value>, name: &str) -> Result<&'a [Value], String> {
    match json {
        None | Some(Value::Null | Value::Bool(false)) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("`{name}` is not a list")),
    }
}

/// A group type index; `None` if it is `null`.
pub(super) fn index(json: &Value) -> Result<Option<u64>, String> {
    match json {
        Value::Null => Ok(None),
        json => {
            // Document stores return integers as doubles.
            let whole = || {
                json.as_f64()
                    .filter(|index| index.fract() == 0.0 && (0.0..1e9).contains(index))
            };
            let index = json.as_u64().or_else(|| whole().map(|index| index as u64));
            index
                .map(Some)
                .ok_or_else(|| "`aggregation_group_type_index` is not a valid index".to_owned())
        }
    }
}

/// A percentage.
pub(super) fn percentage(json: &Value) -> Result<f64, String> {
    match json {
        Value::Number(percentage) => percentage
            .as_f64()
            .ok_or_else(|| "a percentage is out of range".to_owned()),
        _ => Err("a percentage is not a number".to_owned()),
    }
}
