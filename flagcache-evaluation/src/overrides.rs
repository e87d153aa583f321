//! Values that count in place of what the definitions decide, for development and tests.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use posthog_rs::FlagValue;
use serde_json::Value;

/// Flags that have a fixed value in this process, whatever the definitions say. For development and tests.
///
/// They count for every evaluator of the [`LocalEvaluation`](crate::LocalEvaluation) that has them, and for flags that
/// depend on them. They reach no store and no other worker, and no exposure is sent of what they decide. A log line says
/// which flags are overridden, and [`LocalEvaluation::overrides`](crate::LocalEvaluation::overrides) lists them.
///
/// A value from the environment counts before one from the file, and that before one from the code.
///
/// ```
/// use flagcache_evaluation::Overrides;
///
/// let overrides = Overrides::new().set("new-checkout", "blue").set("beta", true).file("flags.local.json").environment();
/// ```
#[derive(Clone, Default)]
pub struct Overrides {
    set: BTreeMap<String, FlagValue>,
    file: Option<PathBuf>,
    environment: bool,
}

const VARIABLE: &str = "FLAGCACHE_OVERRIDE_";

impl Overrides {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This flag has this value: `true`, `false`, or the name of a variant.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(key.into(), flag_value(value.into()));
        self
    }

    /// Reads a JSON file such as `{"new-checkout": "blue", "beta": true}`, and reads it again within a second of every
    /// change. A file that is missing holds none; one that cannot be read leaves in force what was read before.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads the environment: `FLAGCACHE_OVERRIDE_NEW_CHECKOUT=blue` is for the flag whose key is `new-checkout`, in
    /// capitals and with `_` for all that is neither letter nor digit. `true` and `false` are what they say, anything else
    /// is a variant.
    #[must_use]
    pub fn environment(mut self) -> Self {
        self.environment = true;
        self
    }

    pub(crate) fn watched_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is in force, given what the file holds and the keys of the flags that there are.
    pub(crate) fn resolve<'a>(
        &self,
        file: &BTreeMap<String, FlagValue>,
        keys: impl Iterator<Item = &'a str>,
    ) -> HashMap<String, FlagValue> {
        let mut overrides: HashMap<_, _> = self
            .set
            .iter()
            .chain(file)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if self.environment {
            overrides.extend(resolve_variables(
                env::vars_os().filter_map(|(name, value)| {
                    Some((
                        name.to_str()?.strip_prefix(VARIABLE)?.to_owned(),
                        value.to_str()?.to_owned(),
                    ))
                }),
                keys,
            ));
        }
        overrides
    }
}

/// Shows the keys.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overrides")
            .field("set", &self.set.keys())
            .field("file", &self.file)
            .field("environment", &self.environment)
            .finish()
    }
}

fn resolve_variables<'a>(
    variables: impl Iterator<Item = (String, String)>,
    keys: impl Iterator<Item = &'a str>,
) -> HashMap<String, FlagValue> {
    let mut variables: BTreeMap<String, FlagValue> = variables
        .map(|(name, value)| {
            let value = match value.as_str() {
                "true" => FlagValue::Boolean(true),
                "false" => FlagValue::Boolean(false),
                _ => FlagValue::String(value),
            };
            (name, value)
        })
        .collect();
    let mut overrides = HashMap::new();
    if variables.is_empty() {
        return overrides;
    }
    for key in keys {
        if let Some(value) = variables.get(&variable(key)) {
            overrides.insert(key.to_owned(), value.clone());
        }
    }
    for key in overrides.keys() {
        variables.remove(&variable(key));
    }
    // A flag that is not there yet: its key is most likely written like this.
    overrides.extend(
        variables
            .into_iter()
            .map(|(name, value)| (name.to_lowercase().replace('_', "-"), value)),
    );
    overrides
}

/// What comes after the prefix in the name of this flag's variable.
fn variable(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// What the file holds.
///
/// # Errors
///
/// Why it cannot be read, without what is in it.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, FlagValue>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let values: BTreeMap<String, Value> = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "it is not a JSON object (line {} column {})",
            error.line(),
            error.column()
        )
    })?;
    Ok(values
        .into_iter()
        .map(|(key, value)| (key, flag_value(value)))
        .collect())
}

/// Other JSON than booleans and texts is taken as a variant of that name.
pub(crate) fn flag_value(value: Value) -> FlagValue {
    match value {
        Value::Bool(on) => FlagValue::Boolean(on),
        Value::String(variant) => FlagValue::String(variant),
        other => FlagValue::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_for_the_flag_that_is_named_like_it() {
        let variables = [
            ("NEW_CHECKOUT", "blue"),
            ("KILL", "false"),
            ("NOT_THERE", "true"),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter();
        let overrides = resolve_variables(variables, ["new.Checkout", "kill", "other"].into_iter());
        assert_eq!(overrides.len(), 3);
        assert_eq!(
            overrides["new.Checkout"],
            FlagValue::String("blue".to_owned())
        );
        assert_eq!(overrides["kill"], FlagValue::Boolean(false));
        assert_eq!(overrides["not-there"], FlagValue::Boolean(true));
    }
}
