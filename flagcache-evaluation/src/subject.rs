//! Whom a flag is evaluated for.

use std::collections::HashMap;
use std::fmt;

use posthog_rs::EvaluateFlagsOptions;
use serde_json::Value;

/// Whom a flag is evaluated for: a user, with what is known of the user and of the groups that the user belongs to.
///
/// A condition on a property that is not given here cannot be decided. As in posthog-rs's own client, the property
/// `distinct_id` is the distinct id unless it is given.
///
/// ```
/// use flagcache_evaluation::FlagSubject;
///
/// let ada = FlagSubject::new("ada")
///     .property("plan", "pro")
///     .property("seats", 12)
///     .group("company", "acme")
///     .group_property("company", "country", "DE");
/// assert_eq!(ada.distinct_id(), "ada");
/// ```
#[derive(Clone, PartialEq)]
pub struct FlagSubject {
    distinct_id: String,
    properties: HashMap<String, Value>,
    groups: HashMap<String, String>,
    group_properties: HashMap<String, HashMap<String, Value>>,
    device_id: Option<String>,
}

impl FlagSubject {
    /// A user of whom only the distinct id is known.
    pub fn new(distinct_id: impl Into<String>) -> Self {
        let distinct_id = distinct_id.into();
        let properties =
            HashMap::from([("distinct_id".to_owned(), Value::from(distinct_id.as_str()))]);
        Self {
            distinct_id,
            properties,
            groups: HashMap::new(),
            group_properties: HashMap::new(),
            device_id: None,
        }
    }

    /// Adds a property of the person.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// The device that the user is at. Flags that are decided by device are inconclusive without it.
    #[must_use]
    pub fn device_id(mut self, device_id: impl Into<String>) -> Self {
        self.device_id = Some(device_id.into());
        self
    }

    /// Adds a group that the user belongs to, by the name of its type. As in PostHog's other SDKs, the group's property
    /// `$group_key` is this key unless it is given.
    #[must_use]
    pub fn group(mut self, group_type: impl Into<String>, key: impl Into<String>) -> Self {
        let (group_type, key) = (group_type.into(), key.into());
        let properties = self.group_properties.entry(group_type.clone()).or_default();
        properties
            .entry("$group_key".to_owned())
            .or_insert_with(|| Value::from(key.as_str()));
        self.groups.insert(group_type, key);
        self
    }

    /// Adds a property of the group of this type.
    #[must_use]
    pub fn group_property(
        mut self,
        group_type: impl Into<String>,
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        self.group_properties
            .entry(group_type.into())
            .or_default()
            .insert(name.into(), value.into());
        self
    }

    /// The distinct id.
    pub fn distinct_id(&self) -> &str {
        &self.distinct_id
    }

    /// The properties of the person, `distinct_id` among them.
    pub fn properties(&self) -> &HashMap<String, Value> {
        &self.properties
    }

    /// The keys of the groups, by type.
    pub fn groups(&self) -> &HashMap<String, String> {
        &self.groups
    }

    /// The device id, unless it is empty.
    pub(crate) fn known_device_id(&self) -> Option<&str> {
        self.device_id
            .as_deref()
            .filter(|device_id| !device_id.is_empty())
    }

    /// The properties of the groups, by type and name, `$group_key` among them.
    pub fn group_properties(&self) -> &HashMap<String, HashMap<String, Value>> {
        &self.group_properties
    }
}

/// For asking posthog-rs's client about the same subject, where an evaluation here is inconclusive.
impl From<&FlagSubject> for EvaluateFlagsOptions {
    fn from(subject: &FlagSubject) -> Self {
        Self {
            groups: Some(subject.groups.clone()),
            person_properties: Some(subject.properties.clone()),
            group_properties: Some(subject.group_properties.clone()),
            ..Self::default()
        }
    }
}

/// Shows how much is known, not what: that is personal data.
impl fmt::Debug for FlagSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagSubject")
            .field("properties", &self.properties.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}
