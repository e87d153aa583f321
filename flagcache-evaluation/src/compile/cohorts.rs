//! [`Compiler`]: compiles cohorts and their property groups.

use serde_json::Value;

use super::compiler::{Compiler, Draft, MAX_DEPTH};
use super::json;
use crate::rules::{Cohort, GroupEntry, PropertyGroup};

impl Compiler<'_> {
    /// Compiles the JSON of a cohort.
    pub(super) fn new_cohort(&mut self, fingerprint: u128, json: &str) -> Cohort {
        let mut draft = Draft::default();
        let properties = serde_json::from_str(json)
            .map_err(|_| "a cohort is nested too deeply".to_owned())
            .and_then(|json: Value| self.property_group(&json, &mut draft, 0));
        let undecidable = properties.as_ref().err().cloned().or(draft.undecidable);
        Cohort {
            fingerprint,
            properties,
            undecidable,
            has_flags: draft.has_flags,
            dependencies: draft.dependencies,
        }
    }

    fn property_group(
        &mut self,
        json: &Value,
        draft: &mut Draft,
        depth: usize,
    ) -> Result<PropertyGroup, String> {
        const MALFORMED: &str = "the structure of a cohort is unknown";
        let json = json
            .as_object()
            .filter(|_| depth < MAX_DEPTH)
            .ok_or(MALFORMED)?;
        if json.is_empty() {
            return Ok(PropertyGroup {
                all: true,
                entries: Vec::new(),
            });
        }
        let all = match json.get("type").and_then(Value::as_str) {
            Some("AND") => true,
            Some("OR") => false,
            _ => return Err(MALFORMED.to_owned()),
        };
        let values = json
            .get("values")
            .and_then(Value::as_array)
            .ok_or(MALFORMED)?;
        let mut entries = Vec::with_capacity(values.len());
        for value in values {
            let value = value.as_object().ok_or(MALFORMED)?;
            let is_group = value.contains_key("values");
            let has_group_type = matches!(
                value.get("type").and_then(Value::as_str),
                Some("AND" | "OR")
            );
            if value.is_empty() || is_group != has_group_type {
                return Err(MALFORMED.to_owned());
            }
            entries.push(if is_group {
                GroupEntry::Group(self.property_group(
                    &Value::Object(value.clone()),
                    draft,
                    depth + 1,
                )?)
            } else {
                let negated =
                    json::boolean(value.get("negation").unwrap_or(&Value::Null), "negation")?;
                GroupEntry::Filter {
                    filter: self.filter(value, draft)?,
                    negated,
                }
            });
        }
        if entries.is_empty() && !all {
            return Err(
                "a cohort has an empty OR group, which the SDKs evaluate differently".to_owned(),
            );
        }
        let groups = entries
            .iter()
            .filter(|entry| matches!(entry, GroupEntry::Group(_)))
            .count();
        if groups != 0 && groups != entries.len() {
            return Err(
                "a cohort mixes properties and property groups, which the SDKs evaluate differently"
                    .to_owned(),
            );
        }
        Ok(PropertyGroup { all, entries })
    }
}
