//! Copies as workers in other languages write them: the same definitions, decoded and encoded again by PHP, Python and
//! Node.js, read by a worker of ours. Without `php`, `python3` and `node` on the path these tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider};
use flagcache_providers::FileStore;
use serde_json::Value;
use tempfile::TempDir;

/// Each program reads definitions from its input and writes them as its SDK would: decoded, and encoded again.
const WRITERS: [(&str, &[&str]); 3] = [
    (
        "php",
        &[
            "-r",
            "echo json_encode(json_decode(stream_get_contents(STDIN), true));",
        ],
    ),
    (
        "python3",
        &[
            "-c",
            "import json, sys; sys.stdout.write(json.dumps(json.load(sys.stdin)))",
        ],
    ),
    (
        "node",
        &[
            "-e",
            "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8'))))",
        ],
    ),
];

fn written_by(program: &str, args: &[&str], definitions: &str) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; install php-cli, python3 and nodejs")
        });
    child
        .stdin
        .take()
        .unwrap()
        .write_all(definitions.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

async fn read_by_a_worker(copy: &[u8]) -> FlagDefinitionCacheData {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("shop.json"), copy).unwrap();
    let store = FileStore::builder(folder.path(), "shop").build().unwrap();
    store
        .provider()
        .get_flag_definitions()
        .await
        .unwrap()
        .expect("a copy")
}

type Mapping = BTreeMap<String, Value>;

fn mappings(set: &FlagDefinitionCacheData) -> (Mapping, Mapping) {
    (
        set.group_type_mapping().deserialize().unwrap(),
        set.cohorts().deserialize().unwrap(),
    )
}

/// What PHP makes of them is in the comments.
const DEFINITIONS: [&str; 4] = [
    // `[]` for both.
    r#"{"flags":[{"key":"a/b","active":true,"filters":{"groups":[{"properties":[],"rollout_percentage":33.3}],"payloads":{}}}],"group_type_mapping":{},"cohorts":{},"property_matching_version":2,"minimal_flag_called_events":true}"#,
    // A list of two names, and of one cohort.
    r#"{"flags":[{"key":"größe","active":true}],"group_type_mapping":{"0":"company","1":"project"},"cohorts":{"0":{"type":"AND","values":[]}}}"#,
    // A mapping, as it does not begin at 0.
    r#"{"flags":[{"key":"a"},{"key":"b"}],"group_type_mapping":{"1":"project"},"cohorts":{"7":{"type":"OR","values":[{"key":"email","value":["a"]}]}},"property_matching_version":2.0}"#,
    r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#,
];

#[tokio::test]
async fn b9_73_copies_that_php_python_and_node_wrote_are_read_without_loss() {
    for definitions in DEFINITIONS {
        let expected = FlagDefinitionCacheData::from_json(definitions).unwrap();
        for (program, args) in WRITERS {
            // As the API sent it, and as we store it, with our own metadata in it.
            let stored = String::from_utf8(expected.to_json().to_vec()).unwrap();
            for given in [definitions, &stored] {
                let copy = read_by_a_worker(&written_by(program, args, given)).await;
                let keys = |set: &FlagDefinitionCacheData| {
                    set.flags()
                        .map(|flag| flag.key().to_owned())
                        .collect::<Vec<_>>()
                };
                assert_eq!(keys(&copy), keys(&expected), "{program}");
                assert_eq!(mappings(&copy), mappings(&expected), "{program}");
                assert_eq!(
                    copy.property_matching_version(),
                    expected.property_matching_version(),
                    "{program}"
                );
                assert_eq!(
                    copy.minimal_flag_called_events(),
                    expected.minimal_flag_called_events(),
                    "{program}"
                );
            }
        }
    }
}
