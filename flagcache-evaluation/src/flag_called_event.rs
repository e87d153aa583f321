//! [`event`]: builds `$feature_flag_called`, as posthog-rs's own client does for a local evaluation.

use posthog_rs::{Error, Event, FlagValue, RequestContext};
use serde_json::Value;

use crate::FlagSubject;
use crate::rules::Flag;

/// The properties of a minimal event, the same in all SDKs of PostHog.
const MINIMAL_PROPERTIES: [&str; 21] = [
    "$feature_flag",
    "$feature_flag_response",
    "$feature_flag_has_experiment",
    "$feature_flag_id",
    "$feature_flag_version",
    "$feature_flag_reason",
    "$feature_flag_request_id",
    "$feature_flag_evaluated_at",
    "$feature_flag_error",
    "locally_evaluated",
    "$groups",
    "$process_person_profile",
    "$geoip_disable",
    "$session_id",
    "$window_id",
    "$device_id",
    "$lib",
    "$lib_version",
    "$is_server",
    "$os",
    "$os_version",
];

/// Builds the event. `flag` is `None` if the definitions do not contain the key; `allow_minimal` is
/// `minimal_flag_called_events` of the definitions.
pub(super) fn event(
    subject: &FlagSubject,
    key: &str,
    value: Option<&FlagValue>,
    flag: Option<&Flag>,
    allow_minimal: bool,
) -> Result<Event, Error> {
    let mut event = Event::new("$feature_flag_called", subject.distinct_id());
    let response = match value {
        Some(FlagValue::Boolean(on)) => Value::Bool(*on),
        Some(FlagValue::String(variant)) => Value::from(variant.as_str()),
        None => Value::Null,
    };
    event.insert_prop("$feature_flag", key)?;
    event.insert_prop("$feature_flag_response", &response)?;
    event.insert_prop(format!("$feature/{key}"), response)?;
    event.insert_prop("locally_evaluated", flag.is_some())?;
    match flag {
        Some(flag) => {
            event.insert_prop("$feature_flag_reason", "Evaluated locally")?;
            if let Some(has_experiment) = flag.has_experiment {
                event.insert_prop("$feature_flag_has_experiment", has_experiment)?;
            }
            if let Some(payload) = value.and_then(|value| payload(flag, value)) {
                event.insert_prop("$feature_flag_payload", payload)?;
            }
        }
        None => event.insert_prop("$feature_flag_error", "flag_missing")?,
    }
    for (group_type, key) in subject.groups() {
        event.add_group(group_type, key);
    }
    RequestContext::current()
        .unwrap_or_default()
        .apply_to_event(&mut event);
    // Only events of flags without an experiment are minimal: the analysis of an experiment may need the other
    // properties.
    if allow_minimal && flag.is_some_and(|flag| flag.has_experiment == Some(false)) {
        let removed: Vec<String> = event
            .properties()
            .keys()
            .filter(|name| !MINIMAL_PROPERTIES.contains(&name.as_str()))
            .cloned()
            .collect();
        for name in removed {
            event.remove_prop(&name);
        }
    }
    Ok(event)
}

/// The payload of this value. Payloads are JSON encoded in a string; returned decoded.
fn payload(flag: &Flag, value: &FlagValue) -> Option<Value> {
    let name = match value {
        FlagValue::Boolean(false) => return None,
        FlagValue::Boolean(true) => "true",
        FlagValue::String(variant) => variant,
    };
    match serde_json::from_str(flag.payloads.get(name)?.get()).ok()? {
        Value::String(text) => {
            Some(serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text)))
        }
        payload => Some(payload),
    }
}
