//! [`Api`]: the model of PostHog's API.

use bytes::Bytes;
use flagcache::{FetchResponse, FlagDefinitionCacheData};

/// The flag that each worker evaluates. Its id is the version of the definitions.
const FLAG: &str = "simulated";

/// Units of a 200 and of a 304.
const FULL: u64 = 10;
const NOT_MODIFIED: u64 = 1;

/// The API: the current version of the definitions, and the requests that it got.
#[derive(Debug, Default)]
pub(crate) struct Api {
    /// The version that it answers with. Version 1 is there from the beginning.
    pub(crate) version: u32,
    pub(crate) requests: u64,
    pub(crate) full: u64,
    pub(crate) units: u64,
    pub(crate) units_of_leaders: u64,
    /// Requests in the current second, and in the busiest one.
    second: (u64, u64),
    pub(crate) most_in_a_second: u64,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            version: 1,
            ..Self::default()
        }
    }

    pub(crate) fn answer(&mut self, second: u64, leads: bool, etag: Option<&str>) -> FetchResponse {
        let ours = etag_of(self.version);
        self.requests += 1;
        self.second = match self.second {
            (same, count) if same == second => (second, count + 1),
            _ => (second, 1),
        };
        self.most_in_a_second = self.most_in_a_second.max(self.second.1);
        let unchanged = etag == Some(&ours);
        let units = if unchanged { NOT_MODIFIED } else { FULL };
        self.units += units;
        if leads {
            self.units_of_leaders += units;
        }
        if unchanged {
            return FetchResponse::NotModified { etag: Some(ours) };
        }
        self.full += 1;
        FetchResponse::Definitions {
            body: body_of(FLAG, self.version),
            etag: Some(ours),
        }
    }
}

fn etag_of(version: u32) -> String {
    format!("\"{version}\"")
}

/// Definitions of one flag. Their modelled size does not depend on it.
fn body_of(flag: &str, version: u32) -> Bytes {
    Bytes::from(format!(
        r#"{{"flags":[{{"key":"{flag}","id":{version},"active":true,"filters":{{"groups":[{{"rollout_percentage":100}}]}}}}],"group_type_mapping":{{}},"cohorts":{{}}}}"#
    ))
}

/// The definitions that a broken store returns instead of `data`: without the flag.
pub(crate) fn without_flag(data: &FlagDefinitionCacheData) -> Option<FlagDefinitionCacheData> {
    let body = body_of("another", version_of(data)?);
    let at = data.fetched_at()?;
    FlagDefinitionCacheData::from_api_response(body, data.etag(), at, data.project()).ok()
}

/// Evaluates the flag: the version of the definitions, `None` if the flag has no value in them.
pub(crate) fn version_of(data: &FlagDefinitionCacheData) -> Option<u32> {
    let flag: serde_json::Value = serde_json::from_str(data.flag(FLAG)?.json()).ok()?;
    (flag["active"] == true)
        .then(|| flag["id"].as_u64())
        .flatten()
        .and_then(|version| u32::try_from(version).ok())
}
