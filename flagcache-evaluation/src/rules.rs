//! [`Flag`]: a compiled flag, and its [`Evaluation`], in the order and with the results of PostHog's Python SDK.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;

use posthog_rs::FlagValue;
use serde_json::value::RawValue;

use crate::FlagSubject;
use crate::filter::{Properties, PropertyFilter};
use crate::inconclusive::{Inconclusive, InconclusiveKind, Reason};

/// A compiled flag, with everything that its evaluation needs. Cohorts and flags that it depends on are shared.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) key: Box<str>,
    /// The rules, or the reason why the definition is unsupported.
    pub(crate) rules: Result<Rules, String>,
    /// The reason, if the flag cannot be evaluated locally for some or all subjects.
    pub(crate) undecidable: Option<String>,
    pub(crate) has_experiment: Option<bool>,
    pub(crate) payloads: HashMap<String, Box<RawValue>>,
    /// What it depends on. An update reuses the flag if neither it nor these changed.
    pub(crate) dependencies: Dependencies,
}

/// The cohorts and flags that a definition depends on, directly.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    pub(crate) cohorts: Vec<(Box<str>, Option<Arc<Cohort>>)>,
    pub(crate) flags: Vec<(Box<str>, FlagReference)>,
}

/// A flag that another flag depends on.
#[derive(Clone, Debug)]
pub(crate) enum FlagReference {
    Flag(Arc<Flag>),
    /// The definitions do not contain it.
    Missing,
    /// It is restricted to other evaluation contexts.
    OtherContext,
    /// It depends on the flag that depends on it, or the dependencies are nested too deeply.
    Cyclic,
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) active: bool,
    pub(crate) by_device: bool,
    pub(crate) group: Option<u64>,
    pub(crate) enrollment: Option<Box<str>>,
    pub(crate) holdout: Option<Holdout>,
    pub(crate) early_exit: bool,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Debug)]
pub(crate) struct Holdout {
    pub(crate) value: Box<str>,
    /// Between 0 and 100.
    pub(crate) percentage: f64,
}

#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) key: Box<str>,
    pub(crate) percentage: f64,
}

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) filters: Vec<Filter>,
    pub(crate) percentage: Option<f64>,
    /// The variant for all subjects that match the condition; one of the flag's variants.
    pub(crate) variant: Option<Box<str>>,
    /// The group type, if it differs from the flag's.
    pub(crate) group: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Filter {
    Property(PropertyFilter),
    Cohort {
        id: Box<str>,
        cohort: Option<Arc<Cohort>>,
        negated: bool,
    },
    Flag(FlagDependency),
    Unsupported(String),
}

/// A condition on the value of another flag.
#[derive(Debug)]
pub(crate) struct FlagDependency {
    /// The flags to evaluate, in order, including the target.
    pub(crate) chain: Vec<FlagReference>,
    /// The index of the target in the chain.
    pub(crate) target: usize,
    pub(crate) key: Box<str>,
    pub(crate) expected: FlagValue,
}

/// A compiled cohort.
#[derive(Debug)]
pub(crate) struct Cohort {
    /// The hash of its JSON.
    pub(crate) fingerprint: u128,
    pub(crate) properties: Result<PropertyGroup, String>,
    pub(crate) undecidable: Option<String>,
    /// Whether it depends on flags, directly or via other cohorts.
    pub(crate) has_flags: bool,
    pub(crate) dependencies: Dependencies,
}

/// A conjunction (`all`) or disjunction of filters or groups.
#[derive(Debug)]
pub(crate) struct PropertyGroup {
    pub(crate) all: bool,
    pub(crate) entries: Vec<GroupEntry>,
}

#[derive(Debug)]
pub(crate) enum GroupEntry {
    Group(PropertyGroup),
    Filter { filter: Filter, negated: bool },
}

/// A flag's value, borrowed from its definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome<'a> {
    Boolean(bool),
    Variant(&'a str),
}

impl From<Outcome<'_>> for FlagValue {
    fn from(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Boolean(on) => Self::Boolean(on),
            Outcome::Variant(variant) => Self::String(variant.to_owned()),
        }
    }
}

impl<'a> From<&'a FlagValue> for Outcome<'a> {
    fn from(value: &'a FlagValue) -> Self {
        match value {
            FlagValue::Boolean(on) => Self::Boolean(*on),
            FlagValue::String(variant) => Self::Variant(variant),
        }
    }
}

/// The input and the state of one evaluation.
pub(crate) struct Evaluation<'a> {
    pub(crate) subject: &'a FlagSubject,
    pub(crate) group_types: &'a HashMap<String, String>,
    pub(crate) version: i64,
    pub(crate) overrides: &'a HashMap<String, FlagValue>,
    /// The dependencies evaluated so far; `None` for an inconclusive one.
    pub(crate) evaluated: Vec<(&'a Flag, Option<Outcome<'a>>)>,
    /// Whether the value depends on an override.
    pub(crate) uses_override: bool,
}

/// The result of a condition.
enum Match {
    Yes,
    No,
    /// Its filters match, but the subject is outside the rollout percentage.
    OutOfRollout,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn evaluate(&mut self, flag: &'a Flag) -> Result<Outcome<'a>, Inconclusive<'a>> {
        if !self.overrides.is_empty()
            && let Some(value) = self.overrides.get(&*flag.key)
        {
            self.uses_override = true;
            return Ok(value.into());
        }
        let rules = flag
            .rules
            .as_ref()
            .map_err(|reason| Inconclusive::unsupported(Reason::Definition(reason)))?;
        if !rules.active {
            return Ok(Outcome::Boolean(false));
        }
        let subject = self.subject;
        let (id, properties) = match rules.group {
            None if rules.by_device => match subject.device_id_if_set() {
                Some(device) => (device, subject.properties()),
                None => return Err(Inconclusive::unknown(Reason::Device)),
            },
            None => (subject.distinct_id(), subject.properties()),
            Some(index) => {
                let Some(group_type) = self.group_types.get(&index.to_string()) else {
                    return Err(Inconclusive::unsupported(Reason::GroupTypeIndex(index)));
                };
                let Some(key) = subject.groups().get(group_type) else {
                    return Ok(Outcome::Boolean(false));
                };
                match subject.group_properties().get(group_type) {
                    Some(properties) => (key.as_str(), properties),
                    None => return Err(Inconclusive::unknown(Reason::Group(group_type))),
                }
            }
        };
        if let Some(property) = &rules.enrollment {
            return match properties.get(&**property) {
                Some(value) => Ok(Outcome::Boolean(value == true || value == "true")),
                None => Err(Inconclusive::unknown(Reason::Property(property))),
            };
        }
        if let Some(holdout) = &rules.holdout
            && (holdout.percentage == 100.0
                || rollout_hash(&["holdout-", id]) <= holdout.percentage / 100.0)
        {
            return Ok(Outcome::Variant(&holdout.value));
        }
        self.conditions(flag, rules, id, properties)
    }

    fn conditions(
        &mut self,
        flag: &'a Flag,
        rules: &'a Rules,
        flag_id: &'a str,
        flag_properties: &'a Properties,
    ) -> Result<Outcome<'a>, Inconclusive<'a>> {
        let mut inconclusive: Option<Inconclusive<'a>> = None;
        for condition in &rules.conditions {
            let (id, properties) = match condition.group {
                None => (flag_id, flag_properties),
                Some(index) => {
                    let group_type = self.group_types.get(&index.to_string());
                    let Some((group_type, key)) =
                        group_type.and_then(|name| Some((name, self.subject.groups().get(name)?)))
                    else {
                        continue;
                    };
                    match self.subject.group_properties().get(group_type) {
                        Some(properties) => (key.as_str(), properties),
                        None => {
                            let missing = Inconclusive::unknown(Reason::Group(group_type));
                            inconclusive = Some(missing.max(inconclusive));
                            continue;
                        }
                    }
                }
            };
            match self.condition(&flag.key, condition, id, properties) {
                Ok(Match::Yes) => {
                    let variant = condition
                        .variant
                        .as_deref()
                        .or_else(|| variant(&flag.key, &rules.variants, id));
                    return Ok(match variant {
                        Some(variant) if !variant.is_empty() => Outcome::Variant(variant),
                        _ => Outcome::Boolean(true),
                    });
                }
                Ok(Match::No) => {}
                Ok(Match::OutOfRollout) if rules.early_exit => break,
                Ok(Match::OutOfRollout) => {}
                Err(error) if error.kind == InconclusiveKind::Unknown => {
                    inconclusive = Some(error.max(inconclusive));
                }
                Err(error) => return Err(error),
            }
        }
        inconclusive.map_or(Ok(Outcome::Boolean(false)), Err)
    }

    /// Checks all filters: if one does not match, the result is `No`, even if others are inconclusive.
    fn condition(
        &mut self,
        key: &str,
        condition: &'a Condition,
        id: &str,
        properties: &'a Properties,
    ) -> Result<Match, Inconclusive<'a>> {
        // A filter that only PostHog can check ends the evaluation only if it is the first inconclusive one.
        let (mut first, mut unsupported): (Option<Inconclusive<'a>>, Option<Inconclusive<'a>>) =
            (None, None);
        for filter in &condition.filters {
            match self.filter(filter, properties) {
                Ok(true) => {}
                Ok(false) => return Ok(Match::No),
                // An unsupported flag or cohort may be an error in the other SDKs, which ends their evaluation.
                Err(error)
                    if error.kind == InconclusiveKind::Unsupported
                        && !matches!(filter, Filter::Property(_)) =>
                {
                    return Err(error);
                }
                Err(error) if error.kind == InconclusiveKind::Unsupported => {
                    unsupported = Some(error.max(unsupported))
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        if let Some(error) = unsupported.or(first) {
            return Err(error);
        }
        match condition.percentage {
            Some(percentage) if rollout_hash(&[key, ".", id]) > percentage / 100.0 => {
                Ok(Match::OutOfRollout)
            }
            _ => Ok(Match::Yes),
        }
    }

    fn filter(
        &mut self,
        filter: &'a Filter,
        properties: &'a Properties,
    ) -> Result<bool, Inconclusive<'a>> {
        match filter {
            Filter::Property(filter) => filter.matches(properties, self.version),
            Filter::Cohort {
                id, cohort: None, ..
            } => Err(Inconclusive::server_only(Reason::Cohort(id))),
            Filter::Cohort {
                cohort: Some(cohort),
                negated,
                ..
            } => {
                let group = cohort
                    .properties
                    .as_ref()
                    .map_err(|reason| Inconclusive::unsupported(Reason::Definition(reason)))?;
                Ok(self.property_group(group, properties)? != *negated)
            }
            Filter::Flag(dependency) => self.dependency(dependency),
            Filter::Unsupported(reason) => {
                Err(Inconclusive::unsupported(Reason::Definition(reason)))
            }
        }
    }

    /// Checks all entries: one that only PostHog can check makes the group inconclusive, whatever the others result in.
    fn property_group(
        &mut self,
        group: &'a PropertyGroup,
        properties: &'a Properties,
    ) -> Result<bool, Inconclusive<'a>> {
        if group.entries.is_empty() {
            return Ok(true);
        }
        let (mut is_decided, mut inconclusive): (bool, Option<Inconclusive<'a>>) = (false, None);
        for entry in &group.entries {
            let result = match entry {
                GroupEntry::Group(group) => self.property_group(group, properties),
                GroupEntry::Filter { filter, negated } => self
                    .filter(filter, properties)
                    .map(|matches| matches != *negated),
            };
            match result {
                Ok(matches) => is_decided |= matches != group.all,
                // The SDKs are known to continue only after an unsupported property filter.
                Err(error)
                    if error.kind == InconclusiveKind::ServerOnly
                        || error.kind == InconclusiveKind::Unsupported
                            && !matches!(
                                entry,
                                GroupEntry::Filter {
                                    filter: Filter::Property(_),
                                    ..
                                }
                            ) =>
                {
                    return Err(error);
                }
                Err(error) => inconclusive = Some(error.max(inconclusive)),
            }
        }
        match inconclusive {
            _ if is_decided => Ok(!group.all),
            Some(error) => Err(error),
            None => Ok(group.all),
        }
    }

    fn dependency(&mut self, dependency: &'a FlagDependency) -> Result<bool, Inconclusive<'a>> {
        let reason = Reason::Dependency(&dependency.key);
        for reference in &dependency.chain {
            match reference {
                FlagReference::OtherContext => {}
                FlagReference::Missing | FlagReference::Cyclic => {
                    return Err(Inconclusive::unsupported(reason));
                }
                FlagReference::Flag(flag) if self.outcome(flag).is_some() => {}
                FlagReference::Flag(flag) => match self.evaluate(flag) {
                    Ok(outcome) => self.evaluated.push((flag, Some(outcome))),
                    Err(error) => {
                        if error.kind == InconclusiveKind::Unknown {
                            self.evaluated.push((flag, None));
                        }
                        return Err(Inconclusive {
                            kind: error.kind,
                            reason,
                        });
                    }
                },
            }
        }
        let outcome = match dependency.chain.get(dependency.target) {
            Some(FlagReference::Flag(flag)) => self
                .outcome(flag)
                .flatten()
                .ok_or(Inconclusive::unknown(reason))?,
            _ => Outcome::Boolean(false),
        };
        Ok(match (&dependency.expected, outcome) {
            (FlagValue::Boolean(expected), Outcome::Boolean(on)) => on == *expected,
            (FlagValue::Boolean(expected), Outcome::Variant(_)) => *expected,
            (FlagValue::String(expected), Outcome::Variant(variant)) => expected == variant,
            (FlagValue::String(_), Outcome::Boolean(_)) => false,
        })
    }

    /// The outcome of a dependency, if it was evaluated already.
    fn outcome(&self, flag: &Flag) -> Option<Option<Outcome<'a>>> {
        self.evaluated
            .iter()
            .find(|(evaluated, _)| ptr::eq(*evaluated, flag))
            .map(|(_, outcome)| *outcome)
    }
}

/// Assigns a variant by the subject's hash.
fn variant<'a>(key: &str, variants: &'a [Variant], id: &str) -> Option<&'a str> {
    if variants.is_empty() {
        return None;
    }
    let hash = rollout_hash(&[key, ".", id, "variant"]);
    let mut lower = 0.0;
    for variant in variants {
        let upper = lower + variant.percentage / 100.0;
        if hash >= lower && hash < upper {
            return Some(&variant.key);
        }
        lower = upper;
    }
    None
}

/// Hashes a string to a number from 0 to 1, by the first 60 bits of its SHA-1, as all SDKs do.
#[expect(clippy::cast_precision_loss, reason = "as in the other SDKs")]
fn rollout_hash(parts: &[&str]) -> f64 {
    const SCALE: f64 = 0x0FFF_FFFF_FFFF_FFFF_u64 as f64;
    let mut sha1 = sha1_smol::Sha1::new();
    for part in parts {
        sha1.update(part.as_bytes());
    }
    let head = sha1
        .digest()
        .bytes()
        .first_chunk::<8>()
        .map_or(0, |head| u64::from_be_bytes(*head) >> 4);
    head as f64 / SCALE
}
