//! Compiles the API's JSON, flag by flag, into what is evaluated.
//!
//! A flag whose form or rules are not known keeps the reason in place of its rules; the others are compiled all the same.
//! A flag that did not change, and names nothing that did, is taken from the compiled definitions before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::FlagValue;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::filter::PropertyFilter;
use crate::rules::{
    Cohort, Condition, Dependency, Entry, Filter, Flag, Holdout, Members, Named, Reference, Rules,
    Variant,
};

/// How deep flags and cohorts may name each other, and groups of properties may lie in one another.
const MAX_DEPTH: usize = 64;

/// Definitions, ready to be evaluated.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) flags: HashMap<Box<str>, Arc<Flag>>,
    pub(crate) cohorts: HashMap<Box<str>, Arc<Cohort>>,
    pub(crate) group_types: HashMap<String, String>,
    pub(crate) version: i64,
}

impl Compiled {
    /// `contexts` are this service's evaluation contexts; flags of others are left out. None means all.
    pub(crate) fn new(
        definitions: &FlagDefinitionCacheData,
        before: &Self,
        contexts: &HashSet<String>,
    ) -> Self {
        let cohorts: HashMap<String, &RawValue> =
            definitions.cohorts().deserialize().unwrap_or_default();
        let mut compiler = Compiler {
            definitions,
            before,
            contexts,
            raw_cohorts: cohorts,
            flags: HashMap::with_capacity(definitions.len()),
            cohorts: HashMap::new(),
            depth: 0,
        };
        for flag in definitions.flags() {
            compiler.flag(flag.key());
        }
        let mut flags = HashMap::with_capacity(compiler.flags.len());
        for (key, reference) in compiler.flags {
            if let Some(Reference::Flag(flag)) = reference {
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
            flags,
            cohorts,
            group_types: definitions
                .group_type_mapping()
                .deserialize()
                .unwrap_or_default(),
            version: version.unwrap_or(1),
        }
    }

    /// How many flags were taken over from those before.
    pub(crate) fn kept(&self, before: &Self) -> usize {
        let is_kept = |flag: &&Arc<Flag>| {
            before
                .flags
                .get(&flag.key)
                .is_some_and(|before| Arc::ptr_eq(before, flag))
        };
        self.flags.values().filter(is_kept).count()
    }

    /// The flags that cannot be decided here for some subjects or for all, with the reason, by key.
    pub(crate) fn undecidable(&self) -> Vec<(String, String)> {
        let mut undecidable: Vec<_> = self
            .flags
            .values()
            .filter_map(|flag| Some((flag.key.to_string(), flag.fault.clone()?)))
            .chain(self.flags.values().filter_map(|flag| {
                let rules = flag.rules.as_ref().ok()?;
                let groups = rules.group.into_iter().chain(
                    rules
                        .conditions
                        .iter()
                        .filter_map(|condition| condition.group),
                );
                let unknown = groups
                    .into_iter()
                    .find(|index| !self.group_types.contains_key(&index.to_string()))?;
                flag.fault.is_none().then(|| {
                    (
                        flag.key.to_string(),
                        format!("the definitions have no group type {unknown}"),
                    )
                })
            }))
            .collect();
        undecidable.sort_unstable();
        undecidable
    }
}

struct Compiler<'a> {
    definitions: &'a FlagDefinitionCacheData,
    before: &'a Compiled,
    contexts: &'a HashSet<String>,
    raw_cohorts: HashMap<String, &'a RawValue>,
    /// `None` while it is being compiled.
    flags: HashMap<&'a str, Option<Reference>>,
    /// The outer `None` while it is being compiled; the inner one if the definitions have no cohort of this id.
    cohorts: HashMap<Box<str>, Option<Option<Arc<Cohort>>>>,
    depth: usize,
}

/// A flag or cohort while it is compiled: what it names, and the first part of it that cannot be decided here.
#[derive(Default)]
struct Draft {
    named: Named,
    fault: Option<String>,
    has_flags: bool,
}

impl Draft {
    fn note(&mut self, fault: Option<&str>) {
        if self.fault.is_none() {
            self.fault = fault.map(str::to_owned);
        }
    }
}

impl<'a> Compiler<'a> {
    fn flag(&mut self, key: &str) -> Reference {
        match self.flags.get(key) {
            Some(Some(reference)) => return reference.clone(),
            Some(None) => return Reference::Machine,
            None => {}
        }
        let Some(flag) = self.definitions.flag(key) else {
            return Reference::Missing;
        };
        if self.depth >= MAX_DEPTH {
            return Reference::Machine;
        }
        self.flags.insert(flag.key(), None);
        self.depth += 1;
        let fingerprint = xxh3_128(flag.json().as_bytes());
        // A flag of other services was not kept, and the contexts never change: what was kept is this service's.
        let reference = match self.kept_flag(key, fingerprint) {
            Some(kept) => Reference::Flag(kept),
            None => match members(flag.json()) {
                Ok(members) if self.is_elsewhere(&members) => Reference::Elsewhere,
                members => Reference::Flag(Arc::new(self.new_flag(key, fingerprint, members))),
            },
        };
        self.depth -= 1;
        self.flags.insert(flag.key(), Some(reference.clone()));
        reference
    }

    /// The flag of the definitions before, if neither it nor anything that it names has changed.
    fn kept_flag(&mut self, key: &str, fingerprint: u128) -> Option<Arc<Flag>> {
        let before = self.before;
        let flag = before
            .flags
            .get(key)
            .filter(|flag| flag.fingerprint == fingerprint)?;
        self.is_same(&flag.named).then(|| Arc::clone(flag))
    }

    fn is_same(&mut self, named: &Named) -> bool {
        named
            .cohorts
            .iter()
            .all(|(id, before)| match (self.cohort(id), before) {
                (Ok(Some(now)), Some(before)) => Arc::ptr_eq(&now, before),
                (Ok(None), None) => true,
                _ => false,
            })
            && named
                .flags
                .iter()
                .all(|(key, before)| match (self.flag(key), before) {
                    (Reference::Flag(now), Reference::Flag(before)) => Arc::ptr_eq(&now, before),
                    (Reference::Missing, Reference::Missing)
                    | (Reference::Elsewhere, Reference::Elsewhere) => true,
                    _ => false,
                })
    }

    fn is_elsewhere(&self, flag: &HashMap<String, &RawValue>) -> bool {
        let tags =
            |name| -> Option<Vec<String>> { serde_json::from_str(flag.get(name)?.get()).ok() };
        let contexts = tags("evaluation_contexts")
            .or_else(|| tags("evaluation_tags"))
            .unwrap_or_default();
        !self.contexts.is_empty()
            && !contexts.is_empty()
            && contexts.iter().all(|tag| !self.contexts.contains(tag))
    }

    fn new_flag(
        &mut self,
        key: &str,
        fingerprint: u128,
        members: Result<HashMap<String, &RawValue>, String>,
    ) -> Flag {
        let mut draft = Draft::default();
        let rules = members
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|members| self.rules(key, members, &mut draft));
        let members = members.unwrap_or_default();
        let fault = match &rules {
            Ok(rules) if !rules.active => None,
            Ok(_) => draft.fault,
            Err(reason) => Some(reason.clone()),
        };
        let filters: HashMap<String, &RawValue> = raw(&members, "filters");
        draft.named.cohorts.shrink_to_fit();
        draft.named.flags.shrink_to_fit();
        Flag {
            key: key.into(),
            fingerprint,
            rules,
            fault,
            has_experiment: members
                .get("has_experiment")
                .and_then(|json| serde_json::from_str(json.get()).ok()?),
            payloads: raw(&filters, "payloads"),
            named: draft.named,
        }
    }

    fn rules(
        &mut self,
        key: &str,
        flag: &HashMap<String, &RawValue>,
        draft: &mut Draft,
    ) -> Result<Rules, String> {
        match value(flag, "active")? {
            Value::Bool(true) => {}
            // Off is off, whatever its rules are.
            Value::Bool(false) => return Ok(Rules::default()),
            _ => return Err("it does not say whether it is active".to_owned()),
        }
        if switch(
            &value(flag, "ensure_experience_continuity")?,
            "ensure_experience_continuity",
        )? {
            return Err("it has experience continuity, which PostHog alone can decide".to_owned());
        }
        let filters = match flag.get("filters").map(|json| json.get()) {
            // PHP writes an empty object as a list.
            None | Some("null" | "[]") => HashMap::new(),
            Some(json) => members(json).map_err(|_| "`filters` is not an object".to_owned())?,
        };
        match value(&filters, "version")? {
            Value::Null => {}
            Value::Number(version) if version.as_u64() == Some(1) => {}
            _ => return Err("its rules have a format that is not known".to_owned()),
        }
        for unknown in ["rules", "super_groups"] {
            match value(&filters, unknown)? {
                Value::Null => {}
                Value::Array(values) if values.is_empty() => {}
                _ => {
                    return Err(format!(
                        "it has `{unknown}`, which PostHog alone can decide"
                    ));
                }
            }
        }
        let mut rules = Rules {
            active: true,
            ..Rules::default()
        };
        rules.by_device = match (
            value(flag, "bucketing_identifier")?,
            value(&filters, "bucketing_identifier")?,
        ) {
            (Value::String(by), _) | (Value::Null, Value::String(by)) if by == "device_id" => true,
            (Value::String(by), Value::Null | Value::String(_))
            | (Value::Null, Value::String(by))
                if by == "distinct_id" =>
            {
                false
            }
            (Value::Null, Value::Null) => false,
            _ => return Err("it is decided by an identifier that is not known".to_owned()),
        };
        rules.group = index(&value(&filters, "aggregation_group_type_index")?)?;
        rules.early_exit = switch(&value(&filters, "early_exit")?, "early_exit")?;
        if switch(
            &value(&filters, "feature_enrollment")?,
            "feature_enrollment",
        )? {
            if rules.group.is_some() {
                return Err(
                    "it has an enrollment of groups, which PostHog alone can decide".to_owned(),
                );
            }
            rules.enrollment = Some(format!("$feature_enrollment/{key}").into());
        }
        rules.holdout = holdout(&value(&filters, "holdout")?)?;
        if let Value::Object(multivariate) =
            value(&filters, "multivariate")?.or_absent("multivariate")?
        {
            let variants = list(multivariate.get("variants"), "variants")?;
            rules.variants.reserve_exact(variants.len());
            for variant in variants {
                rules.variants.push(self::variant(variant)?);
            }
        }
        let groups = value(&filters, "groups")?;
        let groups = list(Some(&groups), "groups")?;
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
                "it is decided by groups and depends on flags, which the SDKs do differently"
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
        let group = index(
            json.get("aggregation_group_type_index")
                .unwrap_or(&Value::Null),
        )?;
        let variant = match json.get("variant") {
            None | Some(Value::Null | Value::Bool(false)) => None,
            // One that the flag does not have counts as none.
            Some(Value::String(variant)) => rules
                .variants
                .iter()
                .find(|known| *known.key == **variant)
                .map(|known| known.key.clone()),
            Some(_) => return Err("the `variant` of a condition is not a text".to_owned()),
        };
        let percentage = match json.get("rollout_percentage") {
            None | Some(Value::Null) => None,
            Some(percentage) => Some(self::percentage(percentage)?),
        };
        let properties = list(json.get("properties"), "properties")?;
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

    fn filter(&mut self, json: &Map<String, Value>, draft: &mut Draft) -> Result<Filter, String> {
        let filter = match json.get("type").and_then(Value::as_str) {
            Some("cohort") => self.cohort_filter(json, draft)?,
            Some("flag") => self.flag_filter(json, draft),
            _ => Filter::Property(PropertyFilter::compile(json)?),
        };
        match &filter {
            Filter::Property(filter) => draft.note(filter.fault()),
            Filter::Unsupported(reason) => draft.note(Some(reason)),
            Filter::Cohort {
                id, cohort: None, ..
            } => {
                draft.note(Some(&format!(
                    "the cohort {id:?} is known to PostHog alone"
                )));
            }
            Filter::Cohort {
                cohort: Some(cohort),
                ..
            } => {
                draft.has_flags |= cohort.has_flags;
                draft.note(cohort.fault.as_deref());
            }
            Filter::Flag(dependency) => {
                for reference in &dependency.chain {
                    match reference {
                        Reference::Flag(flag) if flag.fault.is_none() => {}
                        Reference::Elsewhere => {}
                        _ => {
                            let reason =
                                crate::open::Reason::Dependency(&dependency.key).to_string();
                            draft.note(Some(&reason));
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
            _ => return Err("the id of a cohort is neither text nor number".to_owned()),
        };
        let negated = match json.get("operator") {
            None | Some(Value::Null) => false,
            Some(Value::String(operator)) => match operator.as_str() {
                "" | "exact" | "in" => false,
                "not_in" => true,
                other => return Err(format!("the cohort operator {other:?} is not known")),
            },
            Some(_) => return Err("the `operator` of a cohort is not a text".to_owned()),
        };
        let cohort = self.cohort(&id)?;
        draft
            .named
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
            return unsupported("a dependency on a flag with an operator that is not known");
        }
        let expected = match json.get("value") {
            Some(Value::Bool(on)) => FlagValue::Boolean(*on),
            Some(Value::String(variant)) => FlagValue::String(variant.clone()),
            _ => return unsupported("a dependency on a flag without a value"),
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
            return unsupported("a dependency on a flag without its chain of dependencies");
        };
        let mut references = Vec::with_capacity(chain.len());
        for link in chain {
            let reference = self.flag(link);
            draft.named.flags.push((link.into(), reference.clone()));
            if let Reference::Flag(flag) = &reference
                && let Ok(rules) = &flag.rules
                && (rules.group.is_some()
                    || rules
                        .conditions
                        .iter()
                        .any(|condition| condition.group.is_some()))
            {
                return unsupported(
                    "a dependency on a flag that is decided by groups, which the SDKs do differently",
                );
            }
            references.push(reference);
        }
        Filter::Flag(Dependency {
            chain: references,
            target,
            key: key.into(),
            expected,
        })
    }

    /// `None` if there is no such cohort.
    fn cohort(&mut self, id: &str) -> Result<Option<Arc<Cohort>>, String> {
        match self.cohorts.get(id) {
            Some(Some(cohort)) => return Ok(cohort.clone()),
            Some(None) => return Err("its cohorts refer to each other".to_owned()),
            None => {}
        }
        if self.depth >= MAX_DEPTH {
            return Err("its cohorts lie too deep in one another".to_owned());
        }
        let json = self.raw_cohorts.get(id).copied();
        self.cohorts.insert(id.into(), None);
        self.depth += 1;
        let cohort = json.map(|json| {
            let fingerprint = xxh3_128(json.get().as_bytes());
            self.kept_cohort(id, fingerprint)
                .unwrap_or_else(|| Arc::new(self.new_cohort(fingerprint, json.get())))
        });
        self.depth -= 1;
        self.cohorts.insert(id.into(), Some(cohort.clone()));
        Ok(cohort)
    }

    fn kept_cohort(&mut self, id: &str, fingerprint: u128) -> Option<Arc<Cohort>> {
        let before = self.before;
        let cohort = before
            .cohorts
            .get(id)
            .filter(|cohort| cohort.fingerprint == fingerprint)?;
        self.is_same(&cohort.named).then(|| Arc::clone(cohort))
    }

    fn new_cohort(&mut self, fingerprint: u128, json: &str) -> Cohort {
        let mut draft = Draft::default();
        let members = serde_json::from_str(json)
            .map_err(|_| "a cohort lies too deep".to_owned())
            .and_then(|json: Value| self.members(&json, &mut draft, 0));
        let fault = members.as_ref().err().cloned().or(draft.fault);
        Cohort {
            fingerprint,
            members,
            fault,
            has_flags: draft.has_flags,
            named: draft.named,
        }
    }

    fn members(
        &mut self,
        json: &Value,
        draft: &mut Draft,
        depth: usize,
    ) -> Result<Members, String> {
        const MALFORMED: &str = "a cohort has a form that is not known";
        let json = json
            .as_object()
            .filter(|_| depth < MAX_DEPTH)
            .ok_or(MALFORMED)?;
        if json.is_empty() {
            return Ok(Members {
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
            let looks_like_one = matches!(
                value.get("type").and_then(Value::as_str),
                Some("AND" | "OR")
            );
            if value.is_empty() || is_group != looks_like_one {
                return Err(MALFORMED.to_owned());
            }
            entries.push(if is_group {
                Entry::Members(self.members(&Value::Object(value.clone()), draft, depth + 1)?)
            } else {
                let negated = switch(value.get("negation").unwrap_or(&Value::Null), "negation")?;
                Entry::Filter {
                    filter: self.filter(value, draft)?,
                    negated,
                }
            });
        }
        if entries.is_empty() && !all {
            return Err("a cohort has an empty OR, which the SDKs do differently".to_owned());
        }
        // The SDKs read a mixed list differently.
        let groups = entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Members(_)))
            .count();
        if groups != 0 && groups != entries.len() {
            return Err(
                "a cohort mixes properties and groups of properties, which the SDKs do differently"
                    .to_owned(),
            );
        }
        Ok(Members { all, entries })
    }
}

fn members(json: &str) -> Result<HashMap<String, &RawValue>, String> {
    serde_json::from_str(json).map_err(|_| "it is not an object".to_owned())
}

/// An object within an object; empty if it is something else.
fn raw<'a, T: serde::Deserialize<'a> + Default>(
    members: &HashMap<String, &'a RawValue>,
    name: &str,
) -> T {
    members
        .get(name)
        .and_then(|json| serde_json::from_str(json.get()).ok())
        .unwrap_or_default()
}

/// A member; `null` if it is absent.
fn value(members: &HashMap<String, &RawValue>, name: &str) -> Result<Value, String> {
    let Some(json) = members.get(name) else {
        return Ok(Value::Null);
    };
    serde_json::from_str(json.get()).map_err(|_| format!("`{name}` lies too deep"))
}

/// What other SDKs take for absent.
trait OrAbsent: Sized {
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

fn switch(json: &Value, name: &str) -> Result<bool, String> {
    match json {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        _ => Err(format!("`{name}` is neither true nor false")),
    }
}

fn list<'a>(json: Option<&'a Value>, name: &str) -> Result<&'a [Value], String> {
    match json {
        None | Some(Value::Null | Value::Bool(false)) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("`{name}` is not a list")),
    }
}

fn index(json: &Value) -> Result<Option<u64>, String> {
    match json {
        Value::Null => Ok(None),
        json => {
            // Document stores return whole numbers as doubles.
            let whole = || {
                json.as_f64()
                    .filter(|index| index.fract() == 0.0 && (0.0..1e9).contains(index))
            };
            let index = json.as_u64().or_else(|| whole().map(|index| index as u64));
            index
                .map(Some)
                .ok_or_else(|| "`aggregation_group_type_index` is not an index".to_owned())
        }
    }
}

fn percentage(json: &Value) -> Result<f64, String> {
    match json {
        Value::Number(percentage) => percentage
            .as_f64()
            .ok_or_else(|| "a percentage is too large".to_owned()),
        _ => Err("a percentage is not a number".to_owned()),
    }
}

fn variant(json: &Value) -> Result<Variant, String> {
    let key = json
        .get("key")
        .and_then(Value::as_str)
        .ok_or("a variant has no key")?;
    let percentage = percentage(json.get("rollout_percentage").unwrap_or(&Value::Null))?;
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
        _ => return Err("the id of its holdout is neither text nor number".to_owned()),
    };
    let percentage = percentage(excluded)?.clamp(0.0, 100.0);
    Ok(Some(Holdout {
        value: format!("holdout-{id}").into(),
        percentage,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(definitions: &Value, before: &Compiled) -> Compiled {
        let definitions = FlagDefinitionCacheData::from_json(definitions.to_string()).unwrap();
        Compiled::new(&definitions, before, &HashSet::new())
    }

    fn flag(key: &str, properties: Value) -> Value {
        serde_json::json!({ "key": key, "active": true, "filters": { "groups": [{ "properties": properties }] } })
    }

    /// `plain`, `member` of a cohort that names another one, `dependent` on `member`.
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
    fn b10_78_an_update_makes_anew_what_changed_and_what_depends_on_it_and_nothing_else() {
        let first = compiled(&definitions("pro"), &Compiled::default());
        let same = compiled(&definitions("pro"), &first);
        assert_eq!((same.flags.len(), same.kept(&first)), (4, 4));
        let changed = compiled(&definitions("team"), &same);
        let is_kept = |key: &str| Arc::ptr_eq(&changed.flags[key], &same.flags[key]);
        assert!(is_kept("plain") && is_kept("other-member"));
        assert!(
            !is_kept("member") && !is_kept("dependent"),
            "by a cohort in a cohort"
        );
        let mut gone = definitions("team");
        gone["cohorts"].as_object_mut().unwrap().remove("2");
        let gone = compiled(&gone, &changed);
        let undecidable: Vec<_> = gone.undecidable().into_iter().map(|(key, _)| key).collect();
        assert_eq!(undecidable, ["dependent", "member"]);
        assert_eq!(gone.kept(&changed), 2);
    }

    #[test]
    fn b10_76_what_names_itself_is_undecidable() {
        let dependency = |key: &str| {
            serde_json::json!([{ "key": key, "type": "flag", "operator": "flag_evaluates_to", "value": true,
                "dependency_chain": [key] }])
        };
        let cohort = |id: &str| serde_json::json!({ "type": "cohort", "key": "id", "value": id });
        let circles = serde_json::json!({
            "flags": [
                flag("a", dependency("b")), flag("b", dependency("a")), flag("c", dependency("c")),
                flag("d", serde_json::json!([cohort("1")])), flag("good", serde_json::json!([])),
            ],
            "cohorts": {
                "1": { "type": "AND", "values": [cohort("2")] },
                "2": { "type": "OR", "values": [cohort("1")] },
            },
        });
        let compiled = compiled(&circles, &Compiled::default());
        let undecidable: Vec<_> = compiled
            .undecidable()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(undecidable, ["a", "b", "c", "d"]);
    }
}
