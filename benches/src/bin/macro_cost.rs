//! What `#[flag_cache_provider]` costs the compiler: `cargo check` of a module of 100 providers written with it, and of the
//! same module written by hand with `#[async_trait]`. Prints the ratio of the processor times, which a busy machine disturbs
//! less than elapsed time, and fails if it is above the limit (default 1.5).
//!
//! ```text
//! cargo run -p flagcache-benches --bin macro_cost [limit] [runs]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

const PROVIDERS: usize = 100;

/// How the providers of a module are written.
#[derive(Clone, Copy)]
enum Style {
    Macro,
    Hand,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let limit: f64 = args.next().map_or(1.5, |limit| limit.parse().unwrap());
    let runs: u32 = args.next().map_or(5, |runs| runs.parse().unwrap());

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join("macro-cost");
    for style in [Style::Macro, Style::Hand] {
        write_package(&folder, root, style);
        check(&folder, style); // the dependencies
    }
    // In turns, so that a busy moment hits both; the fastest run of each is the least disturbed one.
    let (mut by_macro, mut by_hand) = (Duration::MAX, Duration::MAX);
    for _ in 0..runs {
        by_macro = by_macro.min(check(&folder, Style::Macro));
        by_hand = by_hand.min(check(&folder, Style::Hand));
    }
    let ratio = by_macro.as_secs_f64() / by_hand.as_secs_f64();
    println!(
        "{PROVIDERS} providers: {} ms with the macro, {} ms by hand; ratio {ratio:.2} (limit {limit})",
        by_macro.as_millis(),
        by_hand.as_millis()
    );
    ExitCode::from(u8::from(ratio > limit))
}

impl Style {
    fn package(self) -> &'static str {
        match self {
            Self::Macro => "by-macro",
            Self::Hand => "by-hand",
        }
    }

    fn module(self) -> String {
        let mut module = "use std::collections::HashMap;\nuse std::sync::Mutex;\n".to_owned();
        module += match self {
            Self::Macro => "use flagcache::{FlagDefinitionCacheData, flag_cache_provider};\n",
            Self::Hand => {
                "use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind};\n"
            }
        };
        for number in 0..PROVIDERS {
            let name = format!("Provider{number}");
            let head = match self {
                Self::Macro => format!("#[flag_cache_provider]\nimpl {name} {{"),
                Self::Hand => format!(
                    "#[async_trait::async_trait]\nimpl FlagDefinitionCacheProvider for {name} {{"
                ),
            };
            let _ = write!(
                module,
                "
pub struct {name} {{
    pub name: String,
    pub calls: Mutex<u64>,
    pub copies: Mutex<HashMap<String, FlagDefinitionCacheData>>,
}}

{head}
{}}}
",
                self.methods()
            );
        }
        module
    }

    /// The same four bodies in both modules. The error differs: the macro takes any type, by hand it is converted here.
    fn methods(self) -> String {
        let (error, value) = match self {
            Self::Macro => ("String", "\"poisoned\".to_owned()"),
            Self::Hand => (
                "ProviderError",
                "ProviderError::new(ProviderErrorKind::Other, \"poisoned\")",
            ),
        };
        format!(
            "    async fn should_fetch_flag_definitions(&self) -> Result<bool, {error}> {{
        let mut calls = self.calls.lock().map_err(|_| {value})?;
        *calls += 1;
        Ok(*calls % 3 == 1)
    }}

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, {error}> {{
        let copies = self.copies.lock().map_err(|_| {value})?;
        Ok(copies.get(&self.name).cloned())
    }}

    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), {error}> {{
        let mut copies = self.copies.lock().map_err(|_| {value})?;
        copies.insert(self.name.clone(), data.clone());
        Ok(())
    }}

    async fn shutdown(&self) -> Result<(), {error}> {{
        self.copies.lock().map_err(|_| {value})?.clear();
        Ok(())
    }}
"
        )
    }
}

fn write_package(folder: &Path, root: &Path, style: Style) {
    let name = style.package();
    let package = folder.join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    let manifest = format!(
        "[package]
name = \"{name}\"
version = \"0.0.0\"
edition = \"2024\"

[dependencies]
async-trait = \"*\"
flagcache = {{ path = {root:?}, default-features = false, features = [\"macros\"] }}

[workspace]
"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace is built with.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    fs::write(package.join("src/lib.rs"), style.module()).unwrap();
}

/// Checks the package anew, and returns the processor time of cargo and the compiler.
fn check(folder: &Path, style: Style) -> Duration {
    let package = folder.join(style.package());
    let source = fs::File::options()
        .write(true)
        .open(package.join("src/lib.rs"))
        .unwrap();
    source.set_modified(std::time::SystemTime::now()).unwrap();
    let before = children_time();
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status = Command::new(cargo)
        .args(["check", "--quiet", "--offline", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"))
        .status()
        .unwrap();
    assert!(status.success(), "cargo check of {}", style.package());
    children_time() - before
}

/// The processor time of all processes that this one has started and waited for, theirs included.
fn children_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name, in parentheses, can contain anything. Two of the fields after it are the times, in ticks.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
