//! What stays open in an evaluation, and why.

use std::fmt;

use posthog_rs::InconclusiveMatchError;

/// An evaluation, or a part of it, that has no answer here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open<'a> {
    pub(crate) kind: OpenKind,
    pub(crate) reason: Reason<'a>,
}

/// How much an open part leaves open, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OpenKind {
    /// Something about the subject is not known. As in PostHog's SDKs, a later condition may still decide.
    Unknown,
    /// PostHog alone can answer, and as in its SDKs no later condition decides.
    ServerOnly,
    /// The SDKs may know the answer and this crate does not, so nothing that follows may decide.
    Unsupported,
}

/// Why, without the values of a definition or a subject: those may be personal data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason<'a> {
    Property(&'a str),
    Group(&'a str),
    GroupTypeIndex(u64),
    Device,
    Cohort(&'a str),
    Dependency(&'a str),
    Definition(&'a str),
    Value(&'a str, &'static str),
}

impl<'a> Open<'a> {
    pub(crate) fn unknown(reason: Reason<'a>) -> Self {
        Self {
            kind: OpenKind::Unknown,
            reason,
        }
    }

    pub(crate) fn server_only(reason: Reason<'a>) -> Self {
        Self {
            kind: OpenKind::ServerOnly,
            reason,
        }
    }

    pub(crate) fn unsupported(reason: Reason<'a>) -> Self {
        Self {
            kind: OpenKind::Unsupported,
            reason,
        }
    }

    /// The one of both that leaves more open; of equals the first.
    pub(crate) fn or(self, first: Option<Self>) -> Self {
        match first {
            Some(first) if first.kind >= self.kind => first,
            _ => self,
        }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(name) => write!(f, "the property {name:?} of the subject is not known"),
            Self::Group(group_type) => write!(
                f,
                "no property of the subject's group of type {group_type:?} is known"
            ),
            Self::GroupTypeIndex(index) => write!(f, "the definitions have no group type {index}"),
            Self::Device => {
                f.write_str("it is decided by device, and the subject has no device id")
            }
            Self::Cohort(id) => write!(f, "the cohort {id:?} is known to PostHog alone"),
            Self::Dependency(key) => write!(
                f,
                "it depends on the flag {key:?}, which cannot be decided here"
            ),
            Self::Definition(reason) => f.write_str(reason),
            Self::Value(name, fault) => write!(f, "the property {name:?} of the subject {fault}"),
        }
    }
}

impl From<Open<'_>> for InconclusiveMatchError {
    fn from(open: Open<'_>) -> Self {
        Self {
            message: open.reason.to_string(),
        }
    }
}
