//! [`FlagSubject`]: the user, device and groups that flags are evaluated for.

use std::collections::HashMap;
use std::fmt;

use posthog_rs::EvaluateFlagsOptions;
use serde_json::Value;

/// The subject of an evaluation: a user with properties, a device, and groups with properties.
///
/// A condition on a property that the subject lacks is inconclusive. As in posthog-rs's own client, the property
/// `distinct_id` defaults to the distinct id.
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
    /// A user with this distinct id, without further properties.
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

    /// Sets the id of the user's device. Without it, flags bucketed by device are inconclusive.
    #[must_use]
    pub fn device_id(mut self, device_id: impl Into<String>) -> Self {
        self.device_id = Some(device_id.into());
        self
    }

    /// Adds a group of the user, by the name of its type. As in PostHog's other SDKs, the group's property `$group_key`
    /// defaults to the key.
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

    /// The properties of the person, including `distinct_id`.
    pub fn properties(&self) -> &HashMap<String, Value> {
        &self.properties
    }

    /// The keys of the groups, by type.
    pub fn groups(&self) -> &HashMap<String, String> {
        &self.groups
    }

    /// The device id; `None` if it is empty.
    pub(crate) fn device_id_if_set(&self) -> Option<&str> {
        self.device_id
            .as_deref()
            .filter(|device_id| !device_id.is_empty())
    }

    /// The properties of the groups, by type and name, including `$group_key`.
    pub fn group_properties(&self) -> &HashMap<String, HashMap<String, Value>> {
        &self.group_properties
    }
}

/// Converts the subject for posthog-rs's client, to ask PostHog if a local evaluation is inconclusive.
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

/// Shows the number of properties and groups, not their values, which are personal data.
impl fmt::Debug for FlagSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagSubject")
            .field("properties", &self.properties.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}
