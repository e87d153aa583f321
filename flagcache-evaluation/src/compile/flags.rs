//! [`Compiler`]: compiles the rules of a flag.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::compiler::{Compiler, Draft};
use super::json::{self, OrAbsent};
use crate::rules::{Condition, Flag, Holdout, Rules, Variant};

impl Compiler<'_> {
    /// Whether the flag is restricted to other evaluation contexts.
    pub(super) fn is_of_other_context(&self, flag: &HashMap<String, &RawValue>) -> bool {
        let tags =
            |name| -> Option<Vec<String>> { serde_json::from_str(flag.get(name)?.get()).ok() };
        let contexts = tags("evaluation_contexts")
            .or_else(|| tags("evaluation_tags"))
            .unwrap_or_default();
        !self.contexts.is_empty()
            && !contexts.is_empty()
            && contexts.iter().all(|tag| !self.contexts.contains(tag))
    }

    /// Compiles the JSON of a flag. `object` is the reason if it is not an object.
    pub(super) fn new_flag(
        &mut self,
        key: &str,
        object: Result<HashMap<String, &RawValue>, String>,
    ) -> Flag {
        let mut draft = Draft::default();
        let rules = object
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|object| self.rules(key, object, &mut draft));
        let object = object.unwrap_or_default();
        let undecidable = match &rules {
            Ok(rules) if !rules.active => None,
            Ok(_) => draft.undecidable,
            Err(reason) => Some(reason.clone()),
        };
        let filters: HashMap<String, &RawValue> = json::decoded(&object, "filters");
        draft.dependencies.cohorts.shrink_to_fit();
        draft.dependencies.flags.shrink_to_fit();
        Flag {
            key: key.into(),
            rules,
            undecidable,
            has_experiment: object
                .get("has_experiment")
                .and_then(|json| serde_json::from_str(json.get()).ok()?),
            payloads: json::decoded(&filters, "payloads"),
            dependencies: draft.dependencies,
        }
    }

    fn rules(
        &mut self,
        key: &str,
        flag: &HashMap<String, &RawValue>,
        draft: &mut Draft,
    ) -> Result<Rules, String> {
        match json::value(flag, "active")? {
            Value::Bool(true) => {}
            // An inactive flag is off, even if its rules are unsupported.
            Value::Bool(false) => return Ok(Rules::default()),
            _ => return Err("`active` is missing or not a boolean".to_owned()),
        }
        if json::boolean(
            &json::value(flag, "ensure_experience_continuity")?,
            "ensure_experience_continuity",
        )? {
            return Err("experience continuity can only be evaluated by PostHog".to_owned());
        }
        let filters = match flag.get("filters").map(|json| json.get()) {
            // PHP encodes an empty object as a list.
            None | Some("null" | "[]") => HashMap::new(),
            Some(json) => {
                json::object(json).map_err(|_| "`filters` is not an object".to_owned())?
            }
        };
        match json::value(&filters, "version")? {
            Value::Null => {}
            Value::Number(version) if version.as_u64() == Some(1) => {}
            _ => return Err("the version of `filters` is unknown".to_owned()),
        }
        for unknown in ["rules", "super_groups"] {
            match json::value(&filters, unknown)? {
                Value::Null => {}
                Value::Array(values) if values.is_empty() => {}
                _ => {
                    return Err(format!("`{unknown}` can only be evaluated by PostHog"));
                }
            }
        }
        let mut rules = Rules {
            active: true,
            ..Rules::default()
        };
        rules.by_device = match (
            json::value(flag, "bucketing_identifier")?,
            json::value(&filters, "bucketing_identifier")?,
        ) {
            (Value::String(by), _) | (Value::Null, Value::String(by)) if by == "device_id" => true,
            (Value::String(by), Value::Null | Value::String(_))
            | (Value::Null, Value::String(by))
                if by == "distinct_id" =>
            {
                false
            }
            (Value::Null, Value::Null) => false,
            _ => return Err("`bucketing_identifier` is unknown".to_owned()),
        };
        rules.group = json::index(&json::value(&filters, "aggregation_group_type_index")?)?;
        rules.early_exit = json::boolean(&json::value(&filters, "early_exit")?, "early_exit")?;
        if json::boolean(
            &json::value(&filters, "feature_enrollment")?,
            "feature_enrollment",
        )? {
            if rules.group.is_some() {
                return Err(
                    "feature enrollment of groups can only be evaluated by PostHog".to_owned(),
                );
            }
            rules.enrollment = Some(format!("$feature_enrollment/{key}").into());
        }
        rules.holdout = holdout(&json::value(&filters, "holdout")?)?;
        if let Value::Object(multivariate) =
            json::value(&filters, "multivariate")?.or_absent("multivariate")?
        {
            let variants = json::list(multivariate.get("variants"), "variants")?;
            rules.variants.reserve_exact(variants.len());
            for variant in variants {
                rules.variants.push(self::variant(variant)?);
            }
        }
        let groups = json::value(&filters, "groups")?;
        let groups = json::list(Some(&groups), "groups")?;
        rules.conditions.reserve_exact(groups.len());
        for group in groups {
            let condition = self.condition(group, &rules, draft)?;
            rules.conditions.push(condition);
        }
        let by_groups = rules.group.is_some()
            || rules
                .conditions
                .iter()
                .any(|condition| condition.group.is_some());
        if by_groups && draft.has_flags {
            return Err(
                "it combines groups and flag dependencies, which the SDKs evaluate differently"
                    .to_owned(),
            );
        }
        Ok(rules)
    }

    fn condition(
        &mut self,
        json: &Value,
        rules: &Rules,
        draft: &mut Draft,
    ) -> Result<Condition, String> {
        let json = json.as_object().ok_or("a condition is not an object")?;
        let group = json::index(
            json.get("aggregation_group_type_index")
                .unwrap_or(&Value::Null),
        )?;
        let variant = match json.get("variant") {
            None | Some(Value::Null | Value::Bool(false)) => None,
            // Ignore a variant that the flag does not have.
            Some(Value::String(variant)) => rules
                .variants
                .iter()
                .find(|known| *known.key == **variant)
                .map(|known| known.key.clone()),
            Some(_) => return Err("the `variant` of a condition is not a string".to_owned()),
        };
        let percentage = match json.get("rollout_percentage") {
            None | Some(Value::Null) => None,
            Some(percentage) => Some(json::percentage(percentage)?),
        };
        let properties = json::list(json.get("properties"), "properties")?;
        let mut filters = Vec::with_capacity(properties.len());
        for filter in properties {
            let filter = filter
                .as_object()
                .ok_or("a property filter is not an object")?;
            filters.push(self.filter(filter, draft)?);
        }
        Ok(Condition {
            filters,
            percentage,
            variant,
            group: group.filter(|group| rules.group != Some(*group)),
        })
    }
}

fn variant(json: &Value) -> Result<Variant, String> {
    let key = json
        .get("key")
        .and_then(Value::as_str)
        .ok_or("a variant has no key")?;
    let percentage = json::percentage(json.get("rollout_percentage").unwrap_or(&Value::Null))?;
    Ok(Variant {
        key: key.into(),
        percentage,
    })
}

fn holdout(json: &Value) -> Result<Option<Holdout>, String> {
    let Value::Object(holdout) = json.clone().or_absent("holdout")? else {
        return Ok(None);
    };
    let member = |name| holdout.get(name).filter(|value| !value.is_null());
    let (Some(id), Some(excluded)) = (member("id"), member("exclusion_percentage")) else {
        return Ok(None);
    };
    let id = match id {
        Value::String(id) => id.clone(),
        Value::Number(id) if !id.is_f64() => id.to_string(),
        _ => return Err("the holdout id is neither a string nor an integer".to_owned()),
    };
    let percentage = json::percentage(excluded)?.clamp(0.0, 100.0);
    Ok(Some(Holdout {
        value: format!("holdout-{id}").into(),
        percentage,
    }))
}
