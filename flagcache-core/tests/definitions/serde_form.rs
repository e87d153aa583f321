//! `Serialize` and `Deserialize` through plain serde_json.

use flagcache_core::FlagDefinitionCacheData;
use serde::{Deserialize, Serialize};

use crate::{BODY, api, stored_text};

#[test]
fn b6_50_serde_json_carries_the_stored_form_byte_for_byte() {
    let set = api(BODY, Some("\"e\""));
    let text = serde_json::to_string(&set).unwrap();
    assert_eq!(text, stored_text(&set));
    assert_eq!(serde_json::to_vec(&set).unwrap(), set.to_json());
    let copies: [FlagDefinitionCacheData; 3] = [
        serde_json::from_str(&text).unwrap(),
        serde_json::from_slice(text.as_bytes()).unwrap(),
        serde_json::from_reader(text.as_bytes()).unwrap(),
    ];
    for copy in copies {
        assert_eq!(copy, set);
        assert_eq!(copy.raw_json(), BODY);
    }
}

#[test]
fn a_field_of_a_struct_works() {
    #[derive(Serialize, Deserialize)]
    struct Record {
        version: u32,
        definitions: FlagDefinitionCacheData,
        previous: Option<FlagDefinitionCacheData>,
    }
    let set = api(BODY, Some("\"e\""));
    let json = serde_json::to_string(&Record {
        version: 3,
        definitions: set.clone(),
        previous: None,
    })
    .unwrap();
    let record: Record = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (record.version, record.definitions, record.previous),
        (3, set, None)
    );
}

#[test]
fn a_wrong_shape_is_an_error() {
    let error = serde_json::from_str::<FlagDefinitionCacheData>(r#"{"flags":[{}]}"#).unwrap_err();
    assert!(
        error.to_string().contains("flags[0]: there is no `key`"),
        "{error}"
    );
}
