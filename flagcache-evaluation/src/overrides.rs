//! [`Overrides`]: fixed flag values for development and tests.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use posthog_rs::FlagValue;
use serde_json::Value;

/// Fixed values for flags in this process, which replace the evaluation of their definitions. For development and
/// tests.
///
/// They apply to every evaluator of the [`LocalEvaluation`](crate::LocalEvaluation), and to flags that depend on them.
/// They are not written to a store or shared with other workers, and no exposure event is sent for values that depend
/// on them. The overridden flags are logged, and [`LocalEvaluation::overrides`](crate::LocalEvaluation::overrides)
/// returns them.
///
/// The environment takes precedence over the file, and the file over values set in code.
///
/// ```
/// use flagcache_evaluation::Overrides;
///
/// let overrides = Overrides::new()
///     .set("new-checkout", "blue")
///     .set("beta", true)
///     .file("flags.local.json")
///     .environment();
/// ```
#[derive(Clone, Default)]
pub struct Overrides {
    set: BTreeMap<String, FlagValue>,
    file: Option<PathBuf>,
    environment: bool,
}

/// The prefix of environment variables.
const PREFIX: &str = "FLAGCACHE_OVERRIDE_";

impl Overrides {
    /// No overrides.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a flag: `true`, `false`, or the key of a variant.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(key.into(), flag_value(value.into()));
        self
    }

    /// Reads overrides from a JSON file such as `{"new-checkout": "blue", "beta": true}`, and applies changes within
    /// about a second. A missing file means no overrides; if the file cannot be read, the previous overrides remain in
    /// use.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads overrides from environment variables: `FLAGCACHE_OVERRIDE_NEW_CHECKOUT=blue` overrides the flag
    /// `new-checkout`. The name is the key in upper case, with `_` for each character that is not a letter or digit.
    /// `true` and `false` are booleans, any other value is a variant.
    #[must_use]
    pub fn environment(mut self) -> Self {
        self.environment = true;
        self
    }

    pub(crate) fn file_path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The overrides in use, from the code, the file's content, and the environment. `keys` are the keys of the
    /// definitions.
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
                        name.to_str()?.strip_prefix(PREFIX)?.to_owned(),
                        value.to_str()?.to_owned(),
                    ))
                }),
                keys,
            ));
        }
        overrides
    }
}

/// Shows only the keys.
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
        if let Some(value) = variables.get(&variable_suffix(key)) {
            overrides.insert(key.to_owned(), value.clone());
        }
    }
    for key in overrides.keys() {
        variables.remove(&variable_suffix(key));
    }
    // Flags that do not exist yet: kebab case is the most likely form of the key.
    overrides.extend(
        variables
            .into_iter()
            .map(|(name, value)| (name.to_lowercase().replace('_', "-"), value)),
    );
    overrides
}

/// The name of the flag's environment variable, without the prefix.
fn variable_suffix(key: &str) -> String {
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

/// Reads the overrides from a file; none if it does not exist.
///
/// # Errors
///
/// The reason why it cannot be read, without its content.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, FlagValue>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let values: BTreeMap<String, Value> = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "the file is not a JSON object (line {} column {})",
            error.line(),
            error.column()
        )
    })?;
    Ok(values
        .into_iter()
        .map(|(key, value)| (key, flag_value(value)))
        .collect())
}

/// Values other than booleans and strings become variants with their JSON as the key.
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
    fn variables_match_flags_by_normalized_key() {
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
