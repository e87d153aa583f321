//! [`Compiled`]: compiles the JSON of the API's definitions, flag by flag.
//!
//! A flag with an invalid or unsupported definition keeps the reason in place of its rules and does not affect the
//! others. A flag that did not change, and whose dependencies did not change, is reused from the previous definitions.
//!
//! | module | contents |
//! |---|---|
//! | `compiled` | [`Compiled`] |
//! | `compiler` | resolves flags and cohorts, and reuses unchanged ones |
//! | `flags` | the rules of a flag |
//! | `filters` | the filters of a condition or cohort, and what they depend on |
//! | `cohorts` | cohorts and their property groups |
//! | `json` | access to JSON values, with the leniency of other SDKs |

mod cohorts;
mod compiled;
mod compiler;
mod filters;
mod flags;
mod json;

use std::collections::{HashMap, HashSet};

pub(crate) use compiled::Compiled;
use compiler::Compiler;
use flagcache_core::FlagDefinitionCacheData;

use crate::rules::FlagReference;

impl Compiled {
    /// Compiles definitions, and reuses what did not change since `before`. Excludes flags that are restricted to other
    /// evaluation contexts than `contexts`, unless `contexts` is empty.
    pub(crate) fn new(
        definitions: &FlagDefinitionCacheData,
        before: &Self,
        contexts: &HashSet<String>,
    ) -> Self {
        let mut compiler = Compiler {
            definitions,
            before,
            contexts,
            has_same_cohorts: before
                .definitions
                .as_ref()
                .is_some_and(|before| before.cohorts().as_str() == definitions.cohorts().as_str()),
            raw_cohorts: None,
            flags: HashMap::with_capacity(definitions.len()),
            cohorts: HashMap::new(),
            depth: 0,
        };
        for flag in definitions.flags() {
            compiler.flag(flag.key());
        }
        let mut flags = HashMap::with_capacity(compiler.flags.len());
        for (key, reference) in compiler.flags {
            if let Some(FlagReference::Flag(flag)) = reference {
                flags.insert(key.into(), flag);
            }
        }
        let cohorts = compiler
            .cohorts
            .into_iter()
            .filter_map(|(id, cohort)| Some((id, cohort??)))
            .collect();
        let version = definitions
            .property_matching_version()
            .and_then(|version| i64::try_from(version).ok());
        Self {
            definitions: Some(definitions.clone()),
            flags,
            cohorts,
            group_types: definitions
                .group_type_mapping()
                .deserialize()
                .unwrap_or_default(),
            version: version.unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    fn compiled(definitions: &Value, before: &Compiled) -> Compiled {
        let definitions = FlagDefinitionCacheData::from_json(definitions.to_string()).unwrap();
        Compiled::new(&definitions, before, &HashSet::new())
    }

    fn flag(key: &str, properties: Value) -> Value {
        serde_json::json!({ "key": key, "active": true, "filters": { "groups": [{ "properties": properties }] } })
    }

    /// `plain`; `member`, of a cohort that contains another cohort; `dependent`, which depends on `member`.
    fn definitions(plan: &str) -> Value {
        let leaf =
            |value: &str| serde_json::json!({ "key": "plan", "type": "person", "value": value });
        let cohort = |id: u8| serde_json::json!({ "type": "cohort", "key": "id", "value": id });
        let dependency = serde_json::json!({ "key": "member", "type": "flag", "operator": "flag_evaluates_to",
            "value": true, "dependency_chain": ["member"] });
        serde_json::json!({
            "flags": [
                flag("plain", serde_json::json!([leaf("free")])),
                flag("dependent", serde_json::json!([dependency])),
                flag("member", serde_json::json!([cohort(1)])),
                flag("other-member", serde_json::json!([cohort(3)])),
            ],
            "cohorts": {
                "1": { "type": "AND", "values": [cohort(2)] },
                "2": { "type": "AND", "values": [leaf(plan)] },
                "3": { "type": "AND", "values": [leaf("free")] },
            },
        })
    }

    #[test]
    fn b10_78_an_update_compiles_only_changed_flags_and_their_dependents() {
        let first = compiled(&definitions("pro"), &Compiled::default());
        let same = compiled(&definitions("pro"), &first);
        assert_eq!((same.flags.len(), same.count_reused(&first)), (4, 4));
        let changed = compiled(&definitions("team"), &same);
        let is_reused = |key: &str| Arc::ptr_eq(&changed.flags[key], &same.flags[key]);
        assert!(is_reused("plain") && is_reused("other-member"));
        assert!(
            !is_reused("member") && !is_reused("dependent"),
            "a nested cohort changed"
        );
        let mut removed = definitions("team");
        removed["cohorts"].as_object_mut().unwrap().remove("2");
        let removed = compiled(&removed, &changed);
        let undecidable: Vec<_> = removed
            .undecidable()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(undecidable, ["dependent", "member"]);
        assert_eq!(removed.count_reused(&changed), 2);
    }

    #[test]
    fn b10_76_cyclic_dependencies_are_undecidable() {
        let dependency = |key: &str| {
            serde_json::json!([{ "key": key, "type": "flag", "operator": "flag_evaluates_to", "value": true,
                "dependency_chain": [key] }])
        };
        let cohort = |id: &str| serde_json::json!({ "type": "cohort", "key": "id", "value": id });
        let cyclic = serde_json::json!({
            "flags": [
                flag("a", dependency("b")), flag("b", dependency("a")), flag("c", dependency("c")),
                flag("d", serde_json::json!([cohort("1")])), flag("good", serde_json::json!([])),
            ],
            "cohorts": {
                "1": { "type": "AND", "values": [cohort("2")] },
                "2": { "type": "OR", "values": [cohort("1")] },
            },
        });
        let compiled = compiled(&cyclic, &Compiled::default());
        let undecidable: Vec<_> = compiled
            .undecidable()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(undecidable, ["a", "b", "c", "d"]);
    }
}
