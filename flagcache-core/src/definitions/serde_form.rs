//! `Serialize` and `Deserialize`: the stored form through plain serde_json.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::FlagDefinitionCacheData;

impl Serialize for FlagDefinitionCacheData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.to_json();
        let raw: &RawValue = serde_json::from_slice(&json).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FlagDefinitionCacheData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(String::from(Box::<str>::from(raw))).map_err(D::Error::custom)
    }
}
