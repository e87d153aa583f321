//! [`Inconclusive`]: an evaluation without a local result, and the [`Reason`].

use std::fmt;

use posthog_rs::InconclusiveMatchError;

/// An evaluation, or a part of one, that has no local result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inconclusive<'a> {
    pub(crate) kind: InconclusiveKind,
    pub(crate) reason: Reason<'a>,
}

/// How an inconclusive part affects the rest of the evaluation, in ascending order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InconclusiveKind {
    /// Information about the subject is missing. As in PostHog's SDKs, a later condition may still match.
    Unknown,
    /// Only PostHog can evaluate it. As in its SDKs, this ends the evaluation.
    ServerOnly,
    /// The SDKs may have a result, but this crate does not. This ends the evaluation.
    Unsupported,
}

/// Why an evaluation is inconclusive. Contains no values of a subject, which may be personal data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason<'a> {
    Property(&'a str),
    Group(&'a str),
    GroupTypeIndex(u64),
    Device,
    Cohort(&'a str),
    Dependency(&'a str),
    /// The definition is invalid or unsupported, for this reason.
    Definition(&'a str),
    /// The value of this property, and what is wrong with it.
    Value(&'a str, &'static str),
}

impl<'a> Inconclusive<'a> {
    pub(crate) fn unknown(reason: Reason<'a>) -> Self {
        Self {
            kind: InconclusiveKind::Unknown,
            reason,
        }
    }

    pub(crate) fn server_only(reason: Reason<'a>) -> Self {
        Self {
            kind: InconclusiveKind::ServerOnly,
            reason,
        }
    }

    pub(crate) fn unsupported(reason: Reason<'a>) -> Self {
        Self {
            kind: InconclusiveKind::Unsupported,
            reason,
        }
    }

    /// The more severe of the two; `first` if they are equal.
    pub(crate) fn max(self, first: Option<Self>) -> Self {
        match first {
            Some(first) if first.kind >= self.kind => first,
            _ => self,
        }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(name) => write!(f, "the subject has no property {name:?}"),
            Self::Group(group_type) => write!(
                f,
                "the subject's group of type {group_type:?} has no properties"
            ),
            Self::GroupTypeIndex(index) => write!(f, "the definitions have no group type {index}"),
            Self::Device => {
                f.write_str("the flag is bucketed by device, and the subject has no device id")
            }
            Self::Cohort(id) => write!(f, "the definitions have no cohort {id:?}"),
            Self::Dependency(key) => write!(
                f,
                "it depends on the flag {key:?}, which cannot be evaluated locally"
            ),
            Self::Definition(reason) => f.write_str(reason),
            Self::Value(name, problem) => write!(f, "the subject's property {name:?} {problem}"),
        }
    }
}

impl From<Inconclusive<'_>> for InconclusiveMatchError {
    fn from(inconclusive: Inconclusive<'_>) -> Self {
        Self {
            message: inconclusive.reason.to_string(),
        }
    }
}
