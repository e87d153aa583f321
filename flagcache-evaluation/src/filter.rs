//! One condition on one property.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use posthog_rs::{
    CohortDefinition, EvaluationContext, FeatureFlag, Property, match_property_with_context,
};
use serde_json::{Map, Value};

use crate::date::{self, DateFilter};
use crate::open::{Open, Reason};
use crate::pattern::{self, Pattern};

/// The properties of a person or a group.
pub(crate) type Properties = HashMap<String, Value>;

/// A condition on a property.
#[derive(Debug)]
pub(crate) struct PropertyFilter {
    name: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    IsSet(bool),
    /// What posthog-rs decides as the other SDKs do: equality, parts of texts, versions.
    Official(Box<Property>),
    Number(NumberOperator, f64),
    Date {
        is_before: bool,
        filter: DateFilter,
    },
    Regex {
        negated: bool,
        pattern: Pattern,
    },
    /// Not understood here, for this reason.
    Unsupported(Box<str>),
}

#[derive(Clone, Copy, Debug)]
enum NumberOperator {
    Gt,
    Gte,
    Lt,
    Lte,
}

const TEXT: [&str; 6] = [
    "icontains",
    "not_icontains",
    "starts_with",
    "not_starts_with",
    "ends_with",
    "not_ends_with",
];
const VERSION: [&str; 9] = [
    "semver_eq",
    "semver_neq",
    "semver_gt",
    "semver_gte",
    "semver_lt",
    "semver_lte",
    "semver_tilde",
    "semver_caret",
    "semver_wildcard",
];

impl PropertyFilter {
    /// # Errors
    ///
    /// What is wrong with its form. An operator or a value that is not known is no error: it matters only where it is
    /// reached.
    pub(crate) fn compile(json: &Map<String, Value>) -> Result<Self, String> {
        let name: Box<str> = match json.get("key") {
            Some(Value::String(name)) => name.as_str().into(),
            _ => return Err("the `key` of a property filter is not a text".to_owned()),
        };
        let operator = match json.get("operator") {
            None | Some(Value::Null) => "exact",
            Some(Value::String(operator)) if operator.is_empty() => "exact",
            Some(Value::String(operator)) => operator,
            Some(_) => return Err("the `operator` of a property filter is not a text".to_owned()),
        };
        let property_type = match json.get("type") {
            None | Some(Value::Null) => None,
            Some(Value::String(property_type)) => Some(property_type.as_str()),
            Some(_) => return Err("the `type` of a property filter is not a text".to_owned()),
        };
        let test = match property_type {
            None | Some("person" | "group" | "property") => {
                Test::new(&name, operator, json.get("value"))
            }
            Some(other) => {
                Test::Unsupported(format!("the property type {other:?} is not known").into())
            }
        };
        Ok(Self { name, test })
    }

    /// Why it never decides, if that is so.
    pub(crate) fn fault(&self) -> Option<&str> {
        match &self.test {
            Test::Unsupported(reason) => Some(reason),
            Test::Regex {
                pattern: Pattern::Unsupported,
                ..
            } => Some(UNPORTABLE_PATTERN),
            _ => None,
        }
    }

    pub(crate) fn matches<'a>(
        &'a self,
        properties: &Properties,
        version: i64,
    ) -> Result<bool, Open<'a>> {
        if let Some(reason) = self.fault() {
            return Err(Open::unsupported(Reason::Definition(reason)));
        }
        let Some(value) = properties.get(&*self.name) else {
            return Err(Open::unknown(Reason::Property(&self.name)));
        };
        let unsupported = |fault| Open::unsupported(Reason::Value(&self.name, fault));
        match &self.test {
            Test::IsSet(expected) => Ok(*expected),
            Test::Number(..) if value.is_null() => Ok(false),
            Test::Number(operator, filter) => match number(value) {
                Some(value) => Ok(operator.holds(value, *filter)),
                None => Err(unsupported(
                    "is not a number, and the SDKs compare it differently",
                )),
            },
            Test::Date { .. } if value.is_null() => Ok(false),
            Test::Date { is_before, filter } => {
                let moment = filter
                    .moment()
                    .ok_or_else(|| unsupported("is compared with a date that does not exist"))?;
                let value = value
                    .as_str()
                    .and_then(date::parse)
                    .ok_or_else(|| unsupported("is not a date in a format that all SDKs read"))?;
                Ok(if *is_before {
                    value < moment
                } else {
                    value > moment
                })
            }
            Test::Regex { negated, pattern } => match pattern {
                Pattern::Compiled(_) if !is_spelled_alike(value) || is_inexact(value) => {
                    Err(unsupported(UNLIKE_TEXT))
                }
                Pattern::Compiled(regex) => {
                    let text = match value {
                        Value::String(text) => text.as_str().into(),
                        other => std::borrow::Cow::from(other.to_string()),
                    };
                    if !pattern::is_searched_alike(&text) {
                        return Err(unsupported(
                            "is not plain ASCII text, in which the SDKs' regular expressions can match differently",
                        ));
                    }
                    Ok(regex.is_match(&text) != *negated)
                }
                _ => Ok(false),
            },
            Test::Official(property) => self.official(property, value, properties, version),
            Test::Unsupported(reason) => Err(Open::unsupported(Reason::Definition(reason))),
        }
    }

    fn official<'a>(
        &'a self,
        property: &Property,
        value: &Value,
        properties: &Properties,
        version: i64,
    ) -> Result<bool, Open<'a>> {
        if value.is_null() && property.operator.starts_with("semver_") {
            return Ok(false);
        }
        if is_inexact(value) {
            return Err(Open::unsupported(Reason::Value(&self.name, INEXACT)));
        }
        if TEXT.contains(&&*property.operator) && !is_spelled_alike(value) {
            return Err(Open::unsupported(Reason::Value(&self.name, UNLIKE_TEXT)));
        }
        let context = EvaluationContext {
            cohorts: &NOTHING.cohorts,
            flags: &NOTHING.flags,
            distinct_id: "",
            groups: &NOTHING.groups,
            group_properties: &NOTHING.group_properties,
            group_type_mapping: &NOTHING.groups,
            property_matching_version: version,
        };
        catch_unwind(AssertUnwindSafe(|| {
            match_property_with_context(property, properties, &context)
        }))
        .unwrap_or_else(|_| {
            Err(posthog_rs::InconclusiveMatchError::new(
                "posthog-rs panicked",
            ))
        })
        // The other SDKs may read it.
        .map_err(|_| Open::unsupported(Reason::Value(&self.name, "cannot be compared here")))
    }
}

/// posthog-rs is given neither cohorts nor flags: those are decided here.
struct Nothing {
    cohorts: HashMap<String, CohortDefinition>,
    flags: HashMap<String, FeatureFlag>,
    groups: HashMap<String, String>,
    group_properties: HashMap<String, Properties>,
}

static NOTHING: LazyLock<Nothing> = LazyLock::new(|| Nothing {
    cohorts: HashMap::new(),
    flags: HashMap::new(),
    groups: HashMap::new(),
    group_properties: HashMap::new(),
});

const UNLIKE_TEXT: &str = "is not a text, and the SDKs write it as text differently";
const INEXACT: &str = "is a number too large or too small to be compared exactly";
const UNPORTABLE_PATTERN: &str = "a regular expression that the SDKs may read differently";

impl Test {
    fn new(name: &str, operator: &str, value: Option<&Value>) -> Self {
        let unsupported = |reason: &str| Self::Unsupported(reason.into());
        let text = value.and_then(Value::as_str);
        match operator {
            "is_set" => Self::IsSet(true),
            "is_not_set" => Self::IsSet(false),
            "gt" | "gte" | "lt" | "lte" => match value.and_then(number) {
                Some(filter) => Self::Number(NumberOperator::of(operator), filter),
                None => unsupported("a numeric condition without a number"),
            },
            "is_date_before" | "is_date_after" => match text.and_then(DateFilter::parse) {
                Some(filter) => Self::Date {
                    is_before: operator == "is_date_before",
                    filter,
                },
                None => unsupported("a date in a format that the SDKs read differently"),
            },
            "regex" | "not_regex" => match text {
                Some(text) => Self::Regex {
                    negated: operator == "not_regex",
                    pattern: Pattern::new(text),
                },
                None => unsupported("a regular expression that is not a text"),
            },
            _ if operator == "exact"
                || operator == "is_not"
                || TEXT.contains(&operator)
                || VERSION.contains(&operator) =>
            {
                let Some(value) = value else {
                    return unsupported("a property filter without a value");
                };
                if is_inexact(value) {
                    return unsupported("a number too large or too small to be compared exactly");
                }
                if TEXT.contains(&operator) && !is_spelled_alike(value) {
                    return unsupported(
                        "a condition on a part of a text with a value that the SDKs write as text differently",
                    );
                }
                if name.starts_with("$feature/") {
                    // posthog-rs would take it for a dependency.
                    return unsupported("a person property named as a flag");
                }
                if VERSION.contains(&operator) && !has_small_numbers(value) {
                    return unsupported("a version that the SDKs may read differently");
                }
                Self::Official(Box::new(Property {
                    key: name.to_owned(),
                    value: value.clone(),
                    operator: operator.to_owned(),
                    property_type: None,
                }))
            }
            _ => Self::Unsupported(format!("the operator {operator:?} is not known").into()),
        }
    }
}

impl NumberOperator {
    fn of(operator: &str) -> Self {
        match operator {
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            _ => Self::Lte,
        }
    }

    fn holds(self, value: f64, filter: f64) -> bool {
        match self {
            Self::Gt => value > filter,
            Self::Gte => value >= filter,
            Self::Lt => value < filter,
            Self::Lte => value <= filter,
        }
    }
}

/// A number, or a text that is one for every SDK: posthog-rs would also take `inf`, and compares other texts by letters.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let is_plain = text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
            is_plain.then(|| text.parse::<f64>().ok())?
        }
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Whether it holds a number whose digits may be others elsewhere: a whole one that an `f64` does not hold exactly, or one
/// that some SDKs write with an exponent.
fn is_inexact(value: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    const LEAST: f64 = 1e-5;
    let is_exact = |number: f64| number == 0.0 || (LEAST..EXACT).contains(&number.abs());
    match value {
        Value::Number(number) => number.is_f64() && !number.as_f64().is_some_and(is_exact),
        Value::Array(values) => values.iter().any(is_inexact),
        Value::Object(members) => members.values().any(is_inexact),
        _ => false,
    }
}

/// Whether all SDKs search the same text in it: a list, an object and a number such as `1.0` are written differently.
fn is_spelled_alike(value: &Value) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => false,
        Value::Number(number) => !number
            .as_f64()
            .is_some_and(|float| number.is_f64() && float.fract() == 0.0),
        _ => true,
    }
}

/// posthog-rs adds one to the parts of a version, which may be as large as fits.
fn has_small_numbers(value: &Value) -> bool {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.split(|c: char| !c.is_ascii_digit())
        .all(|digits| digits.len() <= 18)
}
