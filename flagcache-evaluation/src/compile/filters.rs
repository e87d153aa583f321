//! [`Compiler`]: compiles the filters of conditions and cohorts, and collects what they depend on.

use posthog_rs::FlagValue;
use serde_json::{Map, Value};

use super::compiler::{Compiler, Draft};
use crate::filter::PropertyFilter;
use crate::inconclusive::Reason;
use crate::rules::{Filter, FlagDependency, FlagReference};

impl Compiler<'_> {
    /// Compiles a filter, and adds its dependencies to the draft.
    pub(super) fn filter(
        &mut self,
        json: &Map<String, Value>,
        draft: &mut Draft,
    ) -> Result<Filter, String> {
        let filter = match json.get("type").and_then(Value::as_str) {
            Some("cohort") => self.cohort_filter(json, draft)?,
            Some("flag") => self.flag_filter(json, draft),
            _ => Filter::Property(PropertyFilter::compile(json)?),
        };
        match &filter {
            Filter::Property(filter) => draft.add_undecidable(filter.undecidable()),
            Filter::Unsupported(reason) => draft.add_undecidable(Some(reason)),
            Filter::Cohort {
                id, cohort: None, ..
            } => {
                draft.add_undecidable(Some(&Reason::Cohort(id).to_string()));
            }
            Filter::Cohort {
                cohort: Some(cohort),
                ..
            } => {
                draft.has_flags |= cohort.has_flags;
                draft.add_undecidable(cohort.undecidable.as_deref());
            }
            Filter::Flag(dependency) => {
                for reference in &dependency.chain {
                    match reference {
                        FlagReference::Flag(flag) if flag.undecidable.is_none() => {}
                        FlagReference::OtherContext => {}
                        _ => {
                            let reason = Reason::Dependency(&dependency.key).to_string();
                            draft.add_undecidable(Some(&reason));
                        }
                    }
                }
            }
        }
        Ok(filter)
    }

    fn cohort_filter(
        &mut self,
        json: &Map<String, Value>,
        draft: &mut Draft,
    ) -> Result<Filter, String> {
        let id = match json.get("value") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) if !id.is_f64() => id.to_string(),
            _ => return Err("a cohort id is neither a string nor an integer".to_owned()),
        };
        let negated = match json.get("operator") {
            None | Some(Value::Null) => false,
            Some(Value::String(operator)) => match operator.as_str() {
                "" | "exact" | "in" => false,
                "not_in" => true,
                other => return Err(format!("the cohort operator {other:?} is unknown")),
            },
            Some(_) => return Err("the `operator` of a cohort is not a string".to_owned()),
        };
        let cohort = self.cohort(&id)?;
        draft
            .dependencies
            .cohorts
            .push((id.as_str().into(), cohort.clone()));
        Ok(Filter::Cohort {
            id: id.into(),
            cohort,
            negated,
        })
    }

    fn flag_filter(&mut self, json: &Map<String, Value>, draft: &mut Draft) -> Filter {
        draft.has_flags = true;
        let unsupported = |reason: &str| Filter::Unsupported(reason.to_owned());
        if json.get("operator").and_then(Value::as_str) != Some("flag_evaluates_to") {
            return unsupported("a flag dependency with an unknown operator");
        }
        let expected = match json.get("value") {
            Some(Value::Bool(on)) => FlagValue::Boolean(*on),
            Some(Value::String(variant)) => FlagValue::String(variant.clone()),
            _ => return unsupported("a flag dependency without a value"),
        };
        let chain: Option<Vec<&str>> = match json.get("dependency_chain") {
            Some(Value::Array(chain)) => chain.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let key = json
            .get("key")
            .and_then(Value::as_str)
            .filter(|key| !key.is_empty());
        let target = key
            .zip(chain.as_ref())
            .and_then(|(key, chain)| chain.iter().position(|link| *link == key));
        let (Some(key), Some(chain), Some(target)) = (key, chain, target) else {
            return unsupported("a flag dependency without a valid `dependency_chain`");
        };
        let mut references = Vec::with_capacity(chain.len());
        for link in chain {
            let reference = self.flag(link);
            draft
                .dependencies
                .flags
                .push((link.into(), reference.clone()));
            if let FlagReference::Flag(flag) = &reference
                && let Ok(rules) = &flag.rules
                && (rules.group.is_some()
                    || rules
                        .conditions
                        .iter()
                        .any(|condition| condition.group.is_some()))
            {
                return unsupported(
                    "a dependency on a flag with groups, which the SDKs evaluate differently",
                );
            }
            references.push(reference);
        }
        Filter::Flag(FlagDependency {
            chain: references,
            target,
            key: key.into(),
            expected,
        })
    }
}
