//! [`response`]: converts the definitions into the type that posthog-rs's own evaluator takes.

use std::collections::HashMap;

use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::{Cohort, FeatureFlag, FlagValue, LocalEvaluationResponse};

use crate::compile::Compiled;
use crate::lenient_decode;

/// Contains the compiled flags that posthog-rs can decode, and the overrides. Without definitions, only the overrides.
pub(crate) fn response(
    definitions: Option<&FlagDefinitionCacheData>,
    compiled: &Compiled,
    overrides: &HashMap<String, FlagValue>,
) -> LocalEvaluationResponse {
    let mut flags: Vec<FeatureFlag> = Vec::new();
    let mut cohorts: HashMap<String, Cohort> = HashMap::new();
    let mut minimal_flag_called_events = false;
    if let Some(definitions) = definitions {
        let compiled_flags = definitions
            .flags()
            .filter(|flag| compiled.flags.contains_key(flag.key()));
        flags.extend(compiled_flags.filter_map(|flag| {
            flag.deserialize()
                .ok()
                .or_else(|| lenient_decode::decode(flag.json()))
        }));
        cohorts = definitions.cohorts().deserialize().unwrap_or_default();
        minimal_flag_called_events = definitions.minimal_flag_called_events();
    }
    flags.retain(|flag| !overrides.contains_key(&flag.key));
    flags.extend(
        overrides
            .iter()
            .filter_map(|(key, value)| overridden(key, value)),
    );
    LocalEvaluationResponse {
        flags,
        group_type_mapping: compiled.group_types.clone(),
        cohorts,
        minimal_flag_called_events,
        property_matching_version: compiled.version,
    }
}

/// A flag that has this value for all subjects.
fn overridden(key: &str, value: &FlagValue) -> Option<FeatureFlag> {
    let flag = serde_json::from_value(definition(key, value));
    flag.ok()
}

/// The JSON definition of a flag that has this value for all subjects.
pub(crate) fn definition(key: &str, value: &FlagValue) -> serde_json::Value {
    let filters = match value {
        FlagValue::Boolean(_) => {
            serde_json::json!({ "groups": [{ "properties": [], "rollout_percentage": 100 }] })
        }
        FlagValue::String(variant) => serde_json::json!({
            "groups": [{ "properties": [], "rollout_percentage": 100, "variant": variant }],
            "multivariate": { "variants": [{ "key": variant, "rollout_percentage": 100 }] },
        }),
    };
    serde_json::json!({ "key": key, "active": *value != FlagValue::Boolean(false), "filters": filters })
}
