//! Prints what a store holds for a service: use it to see who leads, how old the definitions are and what makes them
//! large. It only reads: it never leads, writes nothing and extends nothing.
//!
//! ```text
//! FLAGCACHE_URL='redis://cache:6379?service=checkout' cargo run --features redis,testing --example inspect
//! cargo run --example inspect -- --service checkout --top 20 --show-flag new-checkout
//! ```
//!
//! | argument | meaning |
//! |---|---|
//! | `--service NAME` | the service, if `FLAGCACHE_URL` does not name it |
//! | `--top N` | how many of the largest flags are listed; 10 by default |
//! | `--show-flag KEY` | shows the definition of this flag, with the values of its conditions |
//!
//! If `POSTHOG_PROJECT_KEY` and `POSTHOG_SECRET_KEY` are set, it asks the API at `POSTHOG_HOST` whether the copy is current,
//! for 1 unit, or 10 if it is not. The URL is read from the environment because it may have a password, which a list of
//! processes would show. No key is printed, and no condition of a flag that was not asked for.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use flagcache::{
    FetchResponse, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FlagDefinitionSource,
    FleetStatus, PollerContextOwner, PollerSchedule, PostHogApi, ProviderRegistry, RawJson,
    StoreUrl,
};
use serde_json::Value;

/// Longer than any store waits for its server.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const USAGE: &str = "usage: FLAGCACHE_URL=… inspect [--service NAME] [--top N] [--show-flag KEY]";

/// What to show.
struct Options {
    url: String,
    top: usize,
    show_flag: Option<String>,
}

impl Options {
    fn read(url: String, mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            url,
            top: 10,
            show_flag: None,
        };
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().context(USAGE);
            match name.as_str() {
                "--service" => {
                    let separator = if options.url.contains('?') { '&' } else { '?' };
                    let _ = write!(options.url, "{separator}service={}", value()?);
                }
                "--top" => options.top = value()?.parse().context("--top needs a number")?,
                "--show-flag" => options.show_flag = Some(value()?),
                _ => bail!(USAGE),
            }
        }
        Ok(options)
    }
}

/// The lines of the report.
#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<14} {value}");
    }

    fn item(&mut self, value: impl Display) {
        let _ = writeln!(self.0, "  {value}");
    }

    /// The first `max` keys, each after `sign`.
    fn keys(&mut self, sign: char, keys: &[String], max: usize) {
        for key in keys.iter().take(max) {
            self.item(format_args!("{sign} {}", plain(key)));
        }
        if keys.len() > max {
            self.item(format_args!("{sign} and {} more", keys.len() - max));
        }
    }
}

/// What the store holds, and how it differs from what the API serves.
async fn inspect(options: &Options, api: Option<PostHogApi>) -> anyhow::Result<String> {
    let url = StoreUrl::parse(&options.url)?;
    if url.scheme() == "memory" {
        bail!(
            "a `memory:` store is part of the process that uses it: ask that process for its status"
        );
    }
    let store = ProviderRegistry::default().open(&read_only(&url, &options.url))?;
    let mut report = Report::default();
    report.line(
        "service",
        format_args!(
            "{} ({})",
            url.option("service").unwrap_or("-"),
            url.scheme()
        ),
    );

    // A store reports about the fleet when it is read, to a poller that is attached. Nothing here asks for a decision, which
    // alone could make this process the leader.
    let poller = PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(30)));
    store.on_poller_attached(poller.context());
    let read = tokio::time::timeout(READ_TIMEOUT, store.get_flag_definitions())
        .await
        .context("the store did not answer")?;
    let fleet = poller.take_report().unwrap_or_default();
    // This process does not lead, so there is nothing to release.
    store.shutdown().await?;

    leader(&mut report, &url, &fleet).await;
    fleet_status(&mut report, &url, &fleet);
    match read {
        Err(error) => report.line("copy", format_args!("cannot be read: {error:#}")),
        Ok(None) => report.line("copy", "none"),
        Ok(Some(copy)) => {
            stored_copy(&mut report, &copy);
            kept_by_redis(&mut report, &url).await;
            largest(&mut report, &copy, options.top);
            if let Some(api) = api.filter(FlagDefinitionSource::can_fetch) {
                compared(&mut report, &copy, &api, options.top).await;
            } else {
                report.line(
                    "API",
                    "not asked: set POSTHOG_PROJECT_KEY and POSTHOG_SECRET_KEY",
                );
            }
            if let Some(key) = &options.show_flag {
                let flag = copy
                    .flag(key)
                    .with_context(|| format!("the copy has no flag `{}`", plain(key)))?;
                let definition: Value = flag.deserialize()?;
                let _ = writeln!(report.0);
                for line in format!("{definition:#}").lines() {
                    let _ = writeln!(report.0, "{}", plain(line));
                }
            }
        }
    }
    Ok(report.0)
}

/// The URL of a session that cannot write. Only PostgreSQL needs it, because its store creates a missing table.
fn read_only(url: &StoreUrl, text: &str) -> String {
    let mut text = text.to_owned();
    if url.scheme().starts_with("postgres") && url.option("options").is_none() {
        text.push_str(if text.contains('?') { "&" } else { "?" });
        text.push_str("options=-cdefault_transaction_read_only%3Don");
    }
    text
}

fn fleet_status(report: &mut Report, url: &StoreUrl, fleet: &FleetStatus) {
    // The other stores keep the age at the last write, and a reader adds only the time since its first look.
    let is_exact = url.scheme() == "file" || is_redis(url.scheme());
    let least = if is_exact { "" } else { "at least " };
    match fleet.confirmed_ago {
        Some(ago) => report.line(
            "confirmed",
            format_args!("{least}{} ago by PostHog", time(ago)),
        ),
        None => report.line("confirmed", "not known to this store"),
    }
    match fleet.fleet_failure {
        Some(failure) => report.line(
            "last failure",
            format_args!(
                "{}, {least}{} ago",
                failure.kind().as_str(),
                time(failure.age())
            ),
        ),
        None if fleet.quota_limited => report.line("last failure", "quota_limited"),
        None => report.line("last failure", "none"),
    }
}

fn stored_copy(report: &mut Report, copy: &FlagDefinitionCacheData) {
    let fetched = copy.fetched_at().map(|at| {
        // A clock that is behind that of the leader.
        SystemTime::now().duration_since(at).unwrap_or_default()
    });
    match fetched {
        Some(ago) => report.line("fetched", format_args!("{} ago", time(ago))),
        None => report.line("fetched", "not known: another SDK wrote the copy"),
    }
    report.line("copy", format_args!("{} bytes", copy.to_json().len()));
    report.line("content", copy.content_fingerprint());
    match copy.project() {
        Some(project) => report.line("project", format_args!("{project:?}")),
        None => report.line("project", "not known: another SDK wrote the copy"),
    }
    report.line("ETag", copy.etag().map_or("none".to_owned(), plain));
    report.line("flags", copy.len());
    let sized = |json: RawJson<'_>| {
        let count = json
            .deserialize::<Value>()
            .ok()
            .and_then(|value| Some(value.as_object()?.len()));
        let count = count.map_or("unreadable".to_owned(), |count| count.to_string());
        format!("{count}, {} bytes", json.as_str().len())
    };
    report.line("cohorts", sized(copy.cohorts()));
    report.line("group types", sized(copy.group_type_mapping()));
}

fn largest(report: &mut Report, copy: &FlagDefinitionCacheData, top: usize) {
    let mut flags: Vec<_> = copy
        .flags()
        .map(|flag| (flag.json().len(), flag.key()))
        .collect();
    flags.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    let total: usize = flags.iter().map(|(size, _)| size).sum();
    flags.truncate(top);
    let shown: usize = flags.iter().map(|(size, _)| size).sum();
    report.line(
        "largest flags",
        format_args!("{} with {shown} of {total} bytes", flags.len()),
    );
    for (size, key) in flags {
        report.item(format_args!("{size:>8} {}", plain(key)));
    }
}

/// Asks the API for what has changed since the copy was fetched.
async fn compared(
    report: &mut Report,
    copy: &FlagDefinitionCacheData,
    api: &PostHogApi,
    top: usize,
) {
    if let (Some(theirs), Some(ours)) = (copy.project(), api.project())
        && theirs != ours
    {
        return report.line(
            "API",
            "not asked: the copy is of another project than the keys",
        );
    }
    let body = match api.fetch(copy.etag()).await {
        Ok(FetchResponse::NotModified { .. }) => {
            return report.line("API", "the copy is current (304, 1 unit)");
        }
        Ok(FetchResponse::Definitions { body, .. }) => body,
        Ok(_) => return report.line("API", "an answer that this program does not know"),
        Err(error) => {
            // With its causes, on one line.
            return report.line("API", format_args!("{:#}", anyhow::Error::new(error)));
        }
    };
    let now =
        match FlagDefinitionCacheData::decode_api_response(body, None, SystemTime::now(), None)
            .await
        {
            Ok(now) => now,
            Err(error) => return report.line("API", format_args!("no definitions: {error}")),
        };
    let diff = now.diff(copy);
    if diff.is_empty() {
        return report.line("API", "the copy is current (200, 10 units)");
    }
    report.line(
        "API",
        format_args!(
            "differs (200, 10 units): {} flags added, {} removed, {} changed",
            diff.added.len(),
            diff.removed.len(),
            diff.changed.len()
        ),
    );
    for (sign, keys) in [
        ('+', &diff.added),
        ('-', &diff.removed),
        ('~', &diff.changed),
        ('*', &diff.members),
    ] {
        report.keys(sign, keys, top);
    }
}

/// Who leads, as far as the store shows it.
async fn leader(report: &mut Report, url: &StoreUrl, fleet: &FleetStatus) {
    let ends = fleet
        .lease_ends_in
        .map(|left| format!("the lease ends in {} unless renewed", time(left)));
    let shown = match url.scheme() {
        "file" => holder_of_file(url),
        scheme if is_redis(scheme) => match (redis_holder(url).await, ends) {
            (Some(Ok(Some(holder))), Some(ends)) => format!("{holder}; {ends}"),
            (Some(Ok(Some(holder))), None) => holder,
            (Some(Err(error)), _) => format!("cannot be read: {error}"),
            (Some(Ok(None)), _) | (None, None) => "none".to_owned(),
            (None, Some(ends)) => {
                format!("a worker (its name needs the feature `testing`); {ends}")
            }
        },
        _ => match ends {
            // A reader of such a store measures the lease from its first look.
            Some(ends) => {
                format!("a worker, whose name this store does not show; {ends}, at the latest")
            }
            None => "none".to_owned(),
        },
    };
    report.line("leader", shown);
}

fn is_redis(scheme: &str) -> bool {
    scheme.starts_with("redis") || scheme == "unix"
}

/// The process that holds the lock of a file store. Trying the lock could keep it from a worker that tries at the same time.
fn holder_of_file(url: &StoreUrl) -> String {
    let (Some(folder), Some(service)) = (url.file_path(), url.option("service")) else {
        return "not known".to_owned();
    };
    match holder_of(&folder.join(format!("{service}.lock"))) {
        Ok(Some(process)) => {
            format!("process {process}; a lock on a file has no lease and ends with its process")
        }
        Ok(None) => "none that this machine shows".to_owned(),
        Err(error) => format!("not known: {error}"),
    }
}

/// The process that has locked the file, by the kernel's list of locks. Other containers' processes are not in it.
#[cfg(target_os = "linux")]
fn holder_of(lock: &std::path::Path) -> std::io::Result<Option<String>> {
    use std::os::unix::fs::MetadataExt;

    let inode = match lock.metadata() {
        Ok(metadata) => metadata.ino().to_string(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // 1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234567 0 EOF
    let locks = std::fs::read_to_string("/proc/locks")?;
    let holder = locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = fields[..] else {
            return None;
        };
        file.ends_with(&format!(":{inode}"))
            .then(|| process.to_owned())
    });
    Ok(holder)
}

#[cfg(not(target_os = "linux"))]
fn holder_of(_: &std::path::Path) -> std::io::Result<Option<String>> {
    Err(std::io::Error::other("this system has no list of locks"))
}

/// The holder of the lock on Redis. `None` if this program is built without the features that it needs.
#[cfg(all(feature = "redis", feature = "testing"))]
async fn redis_holder(url: &StoreUrl) -> Option<anyhow::Result<Option<String>>> {
    let read = async {
        let inspector =
            flagcache::testing::RedisInspector::of_url(url).map_err(anyhow::Error::from_boxed)?;
        let token = inspector.lock_token().await?;
        // A worker's token is `flagcache:worker:number`; another SDK writes its own.
        Ok(token.map(|token| match token.strip_prefix("flagcache:") {
            Some(own) => format!("worker {}", plain(own.split(':').next().unwrap_or(own))),
            None => "a worker of another SDK".to_owned(),
        }))
    };
    Some(read.await)
}

#[cfg(not(all(feature = "redis", feature = "testing")))]
async fn redis_holder(_: &StoreUrl) -> Option<anyhow::Result<Option<String>>> {
    None
}

/// What only Redis has: the TTL of the copy, and the patches beside it.
#[cfg(all(feature = "redis", feature = "testing"))]
async fn kept_by_redis(report: &mut Report, url: &StoreUrl) {
    if !is_redis(url.scheme()) {
        return;
    }
    let inspector = match flagcache::testing::RedisInspector::of_url(url) {
        Ok(inspector) => inspector,
        Err(error) => return report.line("TTL", format_args!("cannot be read: {error}")),
    };
    match inspector.copy_ttl().await {
        Ok(Some(left)) => report.line(
            "TTL",
            format_args!("{} left, unless a leader extends it", time(left)),
        ),
        Ok(None) => report.line("TTL", "none"),
        Err(error) => report.line("TTL", format_args!("cannot be read: {error:#}")),
    }
    match inspector.patches().await {
        Ok(sizes) if sizes.is_empty() => report.line("patches", "none"),
        Ok(sizes) => {
            let each: Vec<_> = sizes.iter().map(u64::to_string).collect();
            report.line(
                "patches",
                format_args!(
                    "{}, in bytes, the newest first: {}",
                    sizes.len(),
                    each.join(", ")
                ),
            );
        }
        Err(error) => report.line("patches", format_args!("cannot be read: {error:#}")),
    }
}

#[cfg(not(all(feature = "redis", feature = "testing")))]
async fn kept_by_redis(report: &mut Report, url: &StoreUrl) {
    if is_redis(url.scheme()) {
        report.line(
            "patches",
            "not read: build with the features `redis` and `testing`",
        );
    }
}

/// Text from the store, without control characters that a terminal would interpret.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => plain.push(char),
            _ => plain.extend(char.escape_debug()),
        }
    }
    plain
}

/// A duration, rounded for people.
fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL, for example to file:///folder?service=name")?;
    let options = Options::read(url, std::env::args().skip(1))?;
    let api = match std::env::var_os("POSTHOG_PROJECT_KEY") {
        Some(_) => Some(PostHogApi::from_env()?),
        None => None,
    };
    print!("{}", inspect(&options, api).await?);
    Ok(())
}
