//! What the run was made on and with. No name of a host, a user or a folder.

use std::process::Command;

use flagcache_benches::Table;

/// Crates whose versions matter: those of the hot paths, and the peers.
const CRATES: [&str; 9] = [
    "posthog-rs",
    "serde_json",
    "xxhash-rust",
    "hashbrown",
    "arc-swap",
    "tokio",
    "redis",
    "reqwest",
    "criterion",
];

/// `load` is the load average before the run.
pub(crate) fn describe(load: Option<&str>, is_quick: bool) -> Table {
    let mut table = Table::new("", &["what", ""]);
    let mut row = |what: &str, value: Option<String>| {
        table.row([
            what.to_owned(),
            value.unwrap_or_else(|| "unknown".to_owned()),
        ])
    };
    let cores = std::thread::available_parallelism()
        .ok()
        .map(|cores| cores.to_string());
    row("processor", file_value("/proc/cpuinfo", "model name"));
    row("cores", cores);
    row(
        "memory",
        file_value("/proc/meminfo", "MemTotal")
            .as_deref()
            .map(gigabytes),
    );
    let system = os_value("PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    row(
        "system",
        Some(format!(
            "{system}, kernel {}",
            said("uname", &["-r"])
                .as_deref()
                .map(major_and_minor)
                .unwrap_or_default()
        )),
    );
    row("compiler", said("rustc", &["--version"]));
    row("profile", Some("release (`cargo bench`)".to_owned()));
    row(
        "Redis",
        said("redis-server", &["--version"])
            .as_deref()
            .and_then(redis_version),
    );
    row("valgrind", said("valgrind", &["--version"]));
    row("crates", Some(versions()));
    if let Some(load) = load {
        row("load average before the run", Some(load.to_owned()));
    }
    if is_quick {
        row(
            "run",
            Some("short (`scripts/bench --quick`): few samples, small fleets".to_owned()),
        );
    }
    table
}

/// The value of `name: value` in a file.
fn file_value(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

fn gigabytes(kilobytes: &str) -> String {
    let kilobytes = kilobytes
        .split(' ')
        .next()
        .and_then(|number| number.parse::<f64>().ok())
        .unwrap_or_default();
    format!("{:.0} GB", kilobytes / 1e6)
}

fn os_value(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version number of a kernel, without its builder.
fn major_and_minor(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

fn redis_version(said: &str) -> Option<String> {
    said.split(' ')
        .find_map(|word| word.strip_prefix("v="))
        .map(str::to_owned)
}

/// From the lock file that this was built with.
fn versions() -> String {
    let lock = include_str!("../../../../Cargo.lock");
    let version = |name: &str| {
        let (_, package) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", package.split_once('"')?.0))
    };
    CRATES
        .iter()
        .filter_map(|name| version(name))
        .collect::<Vec<_>>()
        .join(", ")
}
