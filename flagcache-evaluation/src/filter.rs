//! [`PropertyFilter`]: a condition on one property.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use posthog_rs::{
    CohortDefinition, EvaluationContext, FeatureFlag, Property, match_property_with_context,
};
use serde_json::{Map, Value};

use crate::date::{self, DateFilter};
use crate::inconclusive::{Inconclusive, Reason};
use crate::pattern::{self, Pattern};

/// The properties of a person or a group.
pub(crate) type Properties = HashMap<String, Value>;

/// A compiled condition on a property.
#[derive(Debug)]
pub(crate) struct PropertyFilter {
    name: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    IsSet(bool),
    /// Equality, substrings and versions, which posthog-rs compares as the other SDKs do.
    PosthogRs(Box<Property>),
    Number(NumberOperator, f64),
    Date {
        is_before: bool,
        filter: DateFilter,
    },
    Regex {
        negated: bool,
        pattern: Pattern,
    },
    /// Unsupported, for this reason.
    Unsupported(Box<str>),
}

#[derive(Clone, Copy, Debug)]
enum NumberOperator {
    Gt,
    Gte,
    Lt,
    Lte,
}

const TEXT_OPERATORS: [&str; 6] = [
    "icontains",
    "not_icontains",
    "starts_with",
    "not_starts_with",
    "ends_with",
    "not_ends_with",
];
const VERSION_OPERATORS: [&str; 9] = [
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
    /// Compiles the JSON of a filter.
    ///
    /// # Errors
    ///
    /// If the structure is invalid. An unknown operator or value is not an error: it makes only evaluations that reach
    /// it inconclusive.
    pub(crate) fn compile(json: &Map<String, Value>) -> Result<Self, String> {
        let name: Box<str> = match json.get("key") {
            Some(Value::String(name)) => name.as_str().into(),
            _ => return Err("the `key` of a property filter is not a string".to_owned()),
        };
        let operator = match json.get("operator") {
            None | Some(Value::Null) => "exact",
            Some(Value::String(operator)) if operator.is_empty() => "exact",
            Some(Value::String(operator)) => operator,
            Some(_) => return Err("the `operator` of a property filter is not a string".to_owned()),
        };
        let property_type = match json.get("type") {
            None | Some(Value::Null) => None,
            Some(Value::String(property_type)) => Some(property_type.as_str()),
            Some(_) => return Err("the `type` of a property filter is not a string".to_owned()),
        };
        let test = match property_type {
            None | Some("person" | "group" | "property") => {
                Test::new(&name, operator, json.get("value"))
            }
            Some(other) => {
                Test::Unsupported(format!("the property type {other:?} is unknown").into())
            }
        };
        Ok(Self { name, test })
    }

    /// The reason, if the filter is inconclusive for every value.
    pub(crate) fn undecidable(&self) -> Option<&str> {
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
    ) -> Result<bool, Inconclusive<'a>> {
        if let Some(reason) = self.undecidable() {
            return Err(Inconclusive::unsupported(Reason::Definition(reason)));
        }
        let Some(value) = properties.get(&*self.name) else {
            return Err(Inconclusive::unknown(Reason::Property(&self.name)));
        };
        let unsupported = |problem| Inconclusive::unsupported(Reason::Value(&self.name, problem));
        match &self.test {
            Test::IsSet(expected) => Ok(*expected),
            Test::Number(..) if value.is_null() => Ok(false),
            Test::Number(operator, filter) => match number(value) {
                Some(value) => Ok(operator.compare(value, *filter)),
                None => Err(unsupported(
                    "is not a number, which the SDKs compare differently",
                )),
            },
            Test::Date { .. } if value.is_null() => Ok(false),
            Test::Date { is_before, filter } => {
                let moment = filter
                    .moment()
                    .ok_or_else(|| unsupported("is compared with a date that does not exist"))?;
                let value = value.as_str().and_then(date::parse).ok_or_else(|| {
                    unsupported("is not a date in a format that all SDKs support")
                })?;
                Ok(if *is_before {
                    value < moment
                } else {
                    value > moment
                })
            }
            Test::Regex { negated, pattern } => match pattern {
                Pattern::Compiled(_) if !has_portable_text(value) || is_inexact(value) => {
                    Err(unsupported(UNPORTABLE_TEXT))
                }
                Pattern::Compiled(regex) => {
                    let text = match value {
                        Value::String(text) => text.as_str().into(),
                        other => std::borrow::Cow::from(other.to_string()),
                    };
                    if !pattern::is_portable_text(&text) {
                        return Err(unsupported(
                            "is not plain ASCII text, which the SDKs' regular expressions may match differently",
                        ));
                    }
                    Ok(regex.is_match(&text) != *negated)
                }
                _ => Ok(false),
            },
            Test::PosthogRs(property) => {
                self.match_with_posthog_rs(property, value, properties, version)
            }
            Test::Unsupported(reason) => Err(Inconclusive::unsupported(Reason::Definition(reason))),
        }
    }

    fn match_with_posthog_rs<'a>(
        &'a self,
        property: &Property,
        value: &Value,
        properties: &Properties,
        version: i64,
    ) -> Result<bool, Inconclusive<'a>> {
        if value.is_null() && property.operator.starts_with("semver_") {
            return Ok(false);
        }
        if is_inexact(value) {
            return Err(Inconclusive::unsupported(Reason::Value(
                &self.name, INEXACT,
            )));
        }
        if TEXT_OPERATORS.contains(&&*property.operator) && !has_portable_text(value) {
            return Err(Inconclusive::unsupported(Reason::Value(
                &self.name,
                UNPORTABLE_TEXT,
            )));
        }
        let context = EvaluationContext {
            cohorts: &EMPTY_CONTEXT.cohorts,
            flags: &EMPTY_CONTEXT.flags,
            distinct_id: "",
            groups: &EMPTY_CONTEXT.groups,
            group_properties: &EMPTY_CONTEXT.group_properties,
            group_type_mapping: &EMPTY_CONTEXT.groups,
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
        // The other SDKs may support it.
        .map_err(|_| {
            Inconclusive::unsupported(Reason::Value(&self.name, "cannot be compared locally"))
        })
    }
}

/// The context for posthog-rs, without cohorts and flags, which this crate evaluates itself.
struct EmptyContext {
    cohorts: HashMap<String, CohortDefinition>,
    flags: HashMap<String, FeatureFlag>,
    groups: HashMap<String, String>,
    group_properties: HashMap<String, Properties>,
}

static EMPTY_CONTEXT: LazyLock<EmptyContext> = LazyLock::new(|| EmptyContext {
    cohorts: HashMap::new(),
    flags: HashMap::new(),
    groups: HashMap::new(),
    group_properties: HashMap::new(),
});

const UNPORTABLE_TEXT: &str = "is not a string, and the SDKs convert it differently";
const INEXACT: &str = "is a number too large or too small to compare exactly";
const UNPORTABLE_PATTERN: &str = "a regular expression that the SDKs may interpret differently";

impl Test {
    fn new(name: &str, operator: &str, value: Option<&Value>) -> Self {
        let unsupported = |reason: &str| Self::Unsupported(reason.into());
        let text = value.and_then(Value::as_str);
        match operator {
            "is_set" => Self::IsSet(true),
            "is_not_set" => Self::IsSet(false),
            "gt" | "gte" | "lt" | "lte" => match value.and_then(number) {
                Some(filter) => Self::Number(NumberOperator::parse(operator), filter),
                None => unsupported("a numeric condition without a number"),
            },
            "is_date_before" | "is_date_after" => match text.and_then(DateFilter::parse) {
                Some(filter) => Self::Date {
                    is_before: operator == "is_date_before",
                    filter,
                },
                None => unsupported("a date in a format that the SDKs parse differently"),
            },
            "regex" | "not_regex" => match text {
                Some(text) => Self::Regex {
                    negated: operator == "not_regex",
                    pattern: Pattern::new(text),
                },
                None => unsupported("a regular expression that is not a string"),
            },
            _ if operator == "exact"
                || operator == "is_not"
                || TEXT_OPERATORS.contains(&operator)
                || VERSION_OPERATORS.contains(&operator) =>
            {
                let Some(value) = value else {
                    return unsupported("a property filter without a value");
                };
                if is_inexact(value) {
                    return unsupported("a number too large or too small to compare exactly");
                }
                if TEXT_OPERATORS.contains(&operator) && !has_portable_text(value) {
                    return unsupported(
                        "a text operator with a value that the SDKs convert to text differently",
                    );
                }
                if name.starts_with("$feature/") {
                    // posthog-rs would interpret it as a flag dependency.
                    return unsupported("a person property whose name starts with `$feature/`");
                }
                if VERSION_OPERATORS.contains(&operator) && !has_small_version_parts(value) {
                    return unsupported("a version that the SDKs may parse differently");
                }
                Self::PosthogRs(Box::new(Property {
                    key: name.to_owned(),
                    value: value.clone(),
                    operator: operator.to_owned(),
                    property_type: None,
                }))
            }
            _ => Self::Unsupported(format!("the operator {operator:?} is unknown").into()),
        }
    }
}

impl NumberOperator {
    fn parse(operator: &str) -> Self {
        match operator {
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            _ => Self::Lte,
        }
    }

    fn compare(self, value: f64, filter: f64) -> bool {
        match self {
            Self::Gt => value > filter,
            Self::Gte => value >= filter,
            Self::Lt => value < filter,
            Self::Lte => value <= filter,
        }
    }
}

/// Parses a number, or a string that is a number in every SDK. posthog-rs would also accept `inf`, and compares other
/// strings lexicographically.
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

/// Whether the value contains a number whose text may differ between the SDKs: one that an `f64` cannot represent
/// exactly, or that some SDKs write with an exponent.
fn is_inexact(value: &Value) -> bool {
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    const MIN_PLAIN: f64 = 1e-5;
    let is_exact = |number: f64| number == 0.0 || (MIN_PLAIN..MAX_EXACT).contains(&number.abs());
    match value {
        Value::Number(number) => number.is_f64() && !number.as_f64().is_some_and(is_exact),
        Value::Array(values) => values.iter().any(is_inexact),
        Value::Object(members) => members.values().any(is_inexact),
        _ => false,
    }
}

/// Whether all SDKs convert the value to the same text. They differ for lists, objects and numbers such as `1.0`.
fn has_portable_text(value: &Value) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => false,
        Value::Number(number) => !number
            .as_f64()
            .is_some_and(|float| number.is_f64() && float.fract() == 0.0),
        _ => true,
    }
}

/// Whether no part of a version can overflow: posthog-rs increments parts without a check.
fn has_small_version_parts(value: &Value) -> bool {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.split(|c: char| !c.is_ascii_digit())
        .all(|digits| digits.len() <= 18)
}
