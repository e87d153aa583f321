//! [`Flag`] and [`RawJson`]: borrowed views into a snapshot.

use std::fmt;

use serde::Deserialize;

/// One flag, borrowed from its snapshot.
#[derive(Clone, Copy)]
pub struct Flag<'a> {
    key: &'a str,
    json: &'a str,
}

impl<'a> Flag<'a> {
    pub(crate) fn new(key: &'a str, json: &'a str) -> Self {
        Self { key, json }
    }

    /// The flag's key.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The flag's definition as the API sent it, byte for byte.
    pub fn json(&self) -> &'a str {
        self.json
    }

    /// Decodes the definition. `T` may borrow from the snapshot.
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.json)
    }
}

/// Shows the key, not the definition.
impl fmt::Debug for Flag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flag")
            .field("key", &self.key)
            .field("json_len", &self.json.len())
            .finish()
    }
}

/// A JSON value as received, borrowed from its snapshot.
#[derive(Clone, Copy)]
pub struct RawJson<'a>(&'a str);

impl<'a> RawJson<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// The value's text, byte for byte.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Decodes the value. `T` may borrow from the snapshot.
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0)
    }
}

/// Shows the length, not the value.
impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawJson")
            .field("len", &self.0.len())
            .finish()
    }
}
