//! The public API of each crate, with all features, is what `docs/api` says: a change of it is seen in the change itself.
//!
//! ```text
//! cargo test --package public-api-list                          # compares
//! FLAGCACHE_WRITE_API=1 cargo test --package public-api-list    # writes what is so now
//! ```
//!
//! The JSON of rustdoc changes with the compiler; this reads that of the compiler which CI runs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use public_api::Builder;

const CRATES: [&str; 5] = [
    "flagcache",
    "flagcache-core",
    "flagcache-derive",
    "flagcache-evaluation",
    "flagcache-providers",
];

#[test]
fn the_public_api_is_as_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let docs = document(root);
    let mut changes = String::new();
    for name in CRATES {
        let list = root.join("docs/api").join(name).with_extension("txt");
        let now = public_api(&docs, name);
        if env::var_os("FLAGCACHE_WRITE_API").is_some() {
            fs::write(&list, now).unwrap();
        } else {
            let listed = fs::read_to_string(&list)
                .unwrap_or_else(|error| panic!("{}: {error}", list.display()));
            changes.push_str(&differences(&listed, &now));
        }
    }
    assert!(
        changes.is_empty(),
        "the public API is no longer what docs/api says:\n{changes}\
         If that is meant, write it down with FLAGCACHE_WRITE_API=1, and say it in the changelog."
    );
}

/// One line for each item. What the compiler implements by itself, and for everything, is left out.
fn public_api(docs: &Path, name: &str) -> String {
    let json = docs.join(name.replace('-', "_")).with_extension("json");
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build();
    api.unwrap_or_else(|error| panic!("{name}: {error}"))
        .to_string()
}

/// Makes the JSON of all crates. Where it is.
fn document(root: &Path) -> PathBuf {
    // As the pages for people are made, so that what was built for those is not built again.
    let output = Command::new(env!("CARGO"))
        .args([
            "doc",
            "--locked",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--all-features",
        ])
        .env("RUSTDOC", root.join("tests/public_api/rustdoc-json"))
        // Cargo does not look at which rustdoc made what is there; at its flags it does.
        .env("RUSTDOCFLAGS", "--cfg flagcache_public_api")
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("doc")
}

fn differences(listed: &str, now: &str) -> String {
    let [listed, now] = [listed, now].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = listed.difference(&now).map(|line| format!("- {line}\n"));
    let new = now.difference(&listed).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}
