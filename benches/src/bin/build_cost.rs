//! What each feature costs those who build it: crates, and the time of a clean build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use flagcache_benches::{Section, Table, is_quick};

/// Features of the facade, and whether their clean build is timed.
const BUILDS: [(&str, bool); 9] = [
    ("macros", true),
    ("macros,memory", false),
    ("macros,file", true),
    ("macros,file,registry", false),
    ("macros,posthog-api", true),
    ("macros,redis", true),
    ("default", true),
    ("default,metrics", false),
    ("default,redis", true),
];

fn main() {
    let mut section = Section::new("What a build costs");
    section.say(
        "Crates beyond flagcache's own that a program gets with these features, procedural macros and build scripts' \
         dependencies among them, and how long a clean `cargo build` of them takes (not optimised, nothing cached but the \
         downloads). A program that has tokio, serde or reqwest already builds those once.",
    );
    let mut table = Table::new(
        "features",
        &[
            "features",
            "crates",
            "crates that are linked",
            "clean build",
        ],
    );
    for (features, timed) in BUILDS {
        let (all, linked) = (
            crates(features, "normal,build"),
            crates(features, "normal,no-proc-macro"),
        );
        let time = if timed && !is_quick() {
            format!("{:.0} s", build(features).as_secs_f64())
        } else {
            String::new()
        };
        table.row([
            format!("`{features}`"),
            all.to_string(),
            linked.to_string(),
            time,
        ]);
    }
    section.tables.push(table);
    section.finish("build_cost");
}

fn cargo(command: &str, features: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.arg(command).args([
        "--offline",
        "--package",
        "flagcache",
        "--no-default-features",
        "--features",
        features,
    ]);
    cargo
}

fn crates(features: &str, edges: &str) -> usize {
    let output = cargo("tree", features)
        .args(["--prefix", "none", "--edges", edges])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("flagcache"))
        .collect::<BTreeSet<_>>()
        .len()
}

fn build(features: &str) -> Duration {
    let target = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let status = cargo("build", features)
        .args(["--quiet", "--target-dir"])
        .arg(target.path())
        .status()
        .unwrap();
    assert!(status.success(), "the build with {features}");
    begun.elapsed()
}
