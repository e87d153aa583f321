//! A flag as it is evaluated, and its evaluation: in the order and with the outcomes of PostHog's Python SDK.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;

use posthog_rs::FlagValue;
use serde_json::value::RawValue;

use crate::FlagSubject;
use crate::filter::{Properties, PropertyFilter};
use crate::open::{Open, OpenKind, Reason};

/// A flag, with all that its evaluation needs: the cohorts and flags that it names are shared with the others that name
/// them.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) key: Box<str>,
    /// Of the definition's text.
    pub(crate) fingerprint: u128,
    /// The rules, or why there are none here.
    pub(crate) rules: Result<Rules, String>,
    /// Why it cannot be decided here for some subjects or for all, if that is so.
    pub(crate) fault: Option<String>,
    pub(crate) has_experiment: Option<bool>,
    pub(crate) payloads: HashMap<String, Box<RawValue>>,
    /// What it names, so that it is kept as long as that stays the same.
    pub(crate) named: Named,
}

/// What a definition names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) cohorts: Vec<(Box<str>, Option<Arc<Cohort>>)>,
    pub(crate) flags: Vec<(Box<str>, Reference)>,
}

/// A flag that another one names.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    Flag(Arc<Flag>),
    /// It is not among the definitions.
    Missing,
    /// It belongs to other services.
    Elsewhere,
    /// It depends on the one that names it.
    Machine,
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
    /// One of the flag's variants, for all whom the condition matches.
    pub(crate) variant: Option<Box<str>>,
    /// The group type, if it is not the flag's.
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
    Flag(Dependency),
    Unsupported(String),
}

#[derive(Debug)]
pub(crate) struct Dependency {
    /// In the order in which they are evaluated, the one that is asked for among them.
    pub(crate) chain: Vec<Reference>,
    /// Which of them is asked for.
    pub(crate) target: usize,
    pub(crate) key: Box<str>,
    pub(crate) expected: FlagValue,
}

/// A cohort: the properties that make a subject a member.
#[derive(Debug)]
pub(crate) struct Cohort {
    pub(crate) fingerprint: u128,
    pub(crate) members: Result<Members, String>,
    pub(crate) fault: Option<String>,
    /// It depends on flags, itself or by a cohort in it.
    pub(crate) has_flags: bool,
    pub(crate) named: Named,
}

#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) all: bool,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Members(Members),
    Filter { filter: Filter, negated: bool },
}

/// A flag's value, borrowed from its definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome<'a> {
    Is(bool),
    Variant(&'a str),
}

impl From<Outcome<'_>> for FlagValue {
    fn from(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Is(on) => Self::Boolean(on),
            Outcome::Variant(variant) => Self::String(variant.to_owned()),
        }
    }
}

impl<'a> From<&'a FlagValue> for Outcome<'a> {
    fn from(value: &'a FlagValue) -> Self {
        match value {
            FlagValue::Boolean(on) => Self::Is(*on),
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
    /// The flags that were evaluated on the way; `None` for one that was inconclusive.
    pub(crate) done: Vec<(&'a Flag, Option<Outcome<'a>>)>,
    /// An override had a part in it.
    pub(crate) is_overridden: bool,
}

/// How a condition ended.
enum Match {
    Yes,
    No,
    /// Its filters match, and the percentage excludes the subject.
    OutOfRollout,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn of(&mut self, flag: &'a Flag) -> Result<Outcome<'a>, Open<'a>> {
        if !self.overrides.is_empty()
            && let Some(value) = self.overrides.get(&*flag.key)
        {
            self.is_overridden = true;
            return Ok(value.into());
        }
        let rules = flag
            .rules
            .as_ref()
            .map_err(|reason| Open::unsupported(Reason::Definition(reason)))?;
        if !rules.active {
            return Ok(Outcome::Is(false));
        }
        let subject = self.subject;
        let (id, properties) = match rules.group {
            None if rules.by_device => match subject.known_device_id() {
                Some(device) => (device, subject.properties()),
                None => return Err(Open::unknown(Reason::Device)),
            },
            None => (subject.distinct_id(), subject.properties()),
            Some(index) => {
                let Some(group_type) = self.group_types.get(&index.to_string()) else {
                    return Err(Open::unsupported(Reason::GroupTypeIndex(index)));
                };
                let Some(key) = subject.groups().get(group_type) else {
                    return Ok(Outcome::Is(false));
                };
                match subject.group_properties().get(group_type) {
                    Some(properties) => (key.as_str(), properties),
                    None => return Err(Open::unknown(Reason::Group(group_type))),
                }
            }
        };
        if let Some(property) = &rules.enrollment {
            return match properties.get(&**property) {
                Some(value) => Ok(Outcome::Is(value == true || value == "true")),
                None => Err(Open::unknown(Reason::Property(property))),
            };
        }
        if let Some(holdout) = &rules.holdout
            && (holdout.percentage == 100.0
                || share(&["holdout-", id]) <= holdout.percentage / 100.0)
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
    ) -> Result<Outcome<'a>, Open<'a>> {
        let mut open: Option<Open<'a>> = None;
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
                            open = Some(Open::unknown(Reason::Group(group_type)).or(open));
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
                        _ => Outcome::Is(true),
                    });
                }
                Ok(Match::No) => {}
                Ok(Match::OutOfRollout) if rules.early_exit => break,
                Ok(Match::OutOfRollout) => {}
                Err(error) if error.kind == OpenKind::Unknown => open = Some(error.or(open)),
                Err(error) => return Err(error),
            }
        }
        open.map_or(Ok(Outcome::Is(false)), Err)
    }

    /// All filters are looked at: one that does not match decides, whatever the others leave open.
    fn condition(
        &mut self,
        key: &str,
        condition: &'a Condition,
        id: &str,
        properties: &'a Properties,
    ) -> Result<Match, Open<'a>> {
        // A filter that PostHog alone can check ends the evaluation only if it is the first that is open.
        let (mut first, mut unsupported): (Option<Open<'a>>, Option<Open<'a>>) = (None, None);
        for filter in &condition.filters {
            match self.filter(filter, properties) {
                Ok(true) => {}
                Ok(false) => return Ok(Match::No),
                // A flag or a cohort that is not understood may be an error in the other SDKs, which nothing puts right.
                Err(open)
                    if open.kind == OpenKind::Unsupported
                        && !matches!(filter, Filter::Property(_)) =>
                {
                    return Err(open);
                }
                Err(open) if open.kind == OpenKind::Unsupported => {
                    unsupported = Some(open.or(unsupported))
                }
                Err(open) => first = first.or(Some(open)),
            }
        }
        if let Some(open) = unsupported.or(first) {
            return Err(open);
        }
        match condition.percentage {
            Some(percentage) if share(&[key, ".", id]) > percentage / 100.0 => {
                Ok(Match::OutOfRollout)
            }
            _ => Ok(Match::Yes),
        }
    }

    fn filter(&mut self, filter: &'a Filter, properties: &'a Properties) -> Result<bool, Open<'a>> {
        match filter {
            Filter::Property(filter) => filter.matches(properties, self.version),
            Filter::Cohort {
                id, cohort: None, ..
            } => Err(Open::server_only(Reason::Cohort(id))),
            Filter::Cohort {
                cohort: Some(cohort),
                negated,
                ..
            } => {
                let members = cohort
                    .members
                    .as_ref()
                    .map_err(|reason| Open::unsupported(Reason::Definition(reason)))?;
                Ok(self.members(members, properties)? != *negated)
            }
            Filter::Flag(dependency) => self.dependency(dependency),
            Filter::Unsupported(reason) => Err(Open::unsupported(Reason::Definition(reason))),
        }
    }

    /// All entries are looked at: what PostHog alone can check leaves the cohort open, whatever the others say.
    fn members(
        &mut self,
        members: &'a Members,
        properties: &'a Properties,
    ) -> Result<bool, Open<'a>> {
        if members.entries.is_empty() {
            return Ok(true);
        }
        let (mut is_decided, mut open): (bool, Option<Open<'a>>) = (false, None);
        for entry in &members.entries {
            let result = match entry {
                Entry::Members(members) => self.members(members, properties),
                Entry::Filter { filter, negated } => self
                    .filter(filter, properties)
                    .map(|holds| holds != *negated),
            };
            match result {
                Ok(holds) => is_decided |= holds != members.all,
                // Only of a property is it certain that PostHog's SDKs go on.
                Err(error)
                    if error.kind == OpenKind::ServerOnly
                        || error.kind == OpenKind::Unsupported
                            && !matches!(
                                entry,
                                Entry::Filter {
                                    filter: Filter::Property(_),
                                    ..
                                }
                            ) =>
                {
                    return Err(error);
                }
                Err(error) => open = Some(error.or(open)),
            }
        }
        match open {
            _ if is_decided => Ok(!members.all),
            Some(open) => Err(open),
            None => Ok(members.all),
        }
    }

    fn dependency(&mut self, dependency: &'a Dependency) -> Result<bool, Open<'a>> {
        let reason = Reason::Dependency(&dependency.key);
        for reference in &dependency.chain {
            match reference {
                Reference::Elsewhere => {}
                Reference::Missing | Reference::Machine => return Err(Open::unsupported(reason)),
                Reference::Flag(flag) if self.outcome(flag).is_some() => {}
                Reference::Flag(flag) => match self.of(flag) {
                    Ok(outcome) => self.done.push((flag, Some(outcome))),
                    Err(open) => {
                        if open.kind == OpenKind::Unknown {
                            self.done.push((flag, None));
                        }
                        return Err(Open {
                            kind: open.kind,
                            reason,
                        });
                    }
                },
            }
        }
        let outcome = match dependency.chain.get(dependency.target) {
            Some(Reference::Flag(flag)) => {
                self.outcome(flag).flatten().ok_or(Open::unknown(reason))?
            }
            _ => Outcome::Is(false),
        };
        Ok(match (&dependency.expected, outcome) {
            (FlagValue::Boolean(expected), Outcome::Is(on)) => on == *expected,
            (FlagValue::Boolean(expected), Outcome::Variant(_)) => *expected,
            (FlagValue::String(expected), Outcome::Variant(variant)) => expected == variant,
            (FlagValue::String(_), Outcome::Is(_)) => false,
        })
    }

    fn outcome(&self, flag: &Flag) -> Option<Option<Outcome<'a>>> {
        self.done
            .iter()
            .find(|(done, _)| ptr::eq(*done, flag))
            .map(|(_, outcome)| *outcome)
    }
}

fn variant<'a>(key: &str, variants: &'a [Variant], id: &str) -> Option<&'a str> {
    if variants.is_empty() {
        return None;
    }
    let at = share(&[key, ".", id, "variant"]);
    let mut least = 0.0;
    for variant in variants {
        let most = least + variant.percentage / 100.0;
        if at >= least && at < most {
            return Some(&variant.key);
        }
        least = most;
    }
    None
}

/// Where the text stands between 0 and 1, the same in all SDKs: the first 60 bits of its SHA-1.
#[expect(clippy::cast_precision_loss, reason = "as the other SDKs do it")]
fn share(parts: &[&str]) -> f64 {
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
