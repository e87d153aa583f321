//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use crate::cache::CacheUrl;

pub(crate) const USAGE: &str = "\
Starts a fleet of worker processes without a cache, then one that shares a copy of the flag definitions,
and prints what happens to both.

Usage: fleet [options]

  --workers N          worker processes in each fleet, 2 to 64 (default 4; with Redis 16)
  --seconds S          how long each fleet is watched while nothing changes (default 5)
  --poll-interval S    seconds from one load to the next, 0.2 to 60 (default 1)
  --changes N          flags that change one after another, to time a publish, 0 to 1000 (default 100)
  --cache URL          the shared store: file:///folder?service=name, or, built with `--features redis`,
                       redis://host (default: a file in a temporary folder). The story damages the copy, so
                       give none that is in use. What the fleet kept on a Redis server is removed at the end
  --plain              lines, also on a terminal, which otherwise shows a live view. So does RUST_LOG on a terminal
  --json               one JSON object as the last line of stdout; the story goes to stderr
  --help               this text

With a file it takes half a minute. With Redis it takes longer by the TTL of a killed leader's lock (10 s, or
lock_ttl=3s in the URL), and by what an unchanged tick costs, which is measured too: by the server's own counters,
once with definitions of 10 KB and once with 10 MB.

With POSTHOG_HOST, POSTHOG_PROJECT_KEY and POSTHOG_SECRET_KEY set, the workers ask that host; otherwise an API
on this machine. Exit code: 0 if the story held, 1 if it did not, 2 for bad options.";

/// A worker with a longer interval loads on order only.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
const WORKERS: usize = 4;
/// Redis is for fleets of several machines.
const REDIS_WORKERS: usize = 16;

/// The command.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Story(StoryArgs),
    /// Hidden: how the program starts itself.
    Worker(WorkerArgs),
}

#[derive(Clone, Debug)]
pub(crate) struct StoryArgs {
    pub(crate) workers: usize,
    pub(crate) watch: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) changes: u32,
    pub(crate) cache: Option<CacheUrl>,
    pub(crate) json: bool,
    pub(crate) plain: bool,
}

/// The arguments of a worker process. Host, keys and cache come from the environment, where other users do not see them.
#[derive(Clone, Debug)]
pub(crate) struct WorkerArgs {
    pub(crate) name: String,
    pub(crate) poll_interval: Duration,
}

impl WorkerArgs {
    /// Whether this worker belongs to a measurement, in which it loads on order only.
    pub(crate) fn waits_for_orders(&self) -> bool {
        self.poll_interval > LONGEST_INTERVAL
    }

    /// The arguments that [`parse`] makes this of.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec!["worker".to_owned(), "--name".to_owned(), self.name.clone()];
        args.extend([
            "--poll-interval".to_owned(),
            self.poll_interval.as_secs_f64().to_string(),
        ]);
        args
    }
}

/// Reads the arguments after the program's name. An error is a sentence for the user.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let args: Result<Vec<_>, _> = args.map(OsString::into_string).collect();
    let mut args = args
        .map_err(|arg| format!("{arg:?} is not valid Unicode"))?
        .into_iter()
        .peekable();
    let is_worker = args.next_if(|first| first == "worker").is_some();
    let mut given_workers = None;
    let mut story = StoryArgs {
        workers: WORKERS,
        watch: Duration::from_secs(5),
        poll_interval: Duration::from_secs(1),
        changes: 100,
        cache: None,
        json: false,
        plain: false,
    };
    let mut name = String::new();
    let longest_interval = if is_worker {
        3600.0
    } else {
        LONGEST_INTERVAL.as_secs_f64()
    };
    while let Some(arg) = args.next() {
        let (option, inline) = match arg.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| args.next())
                .ok_or_else(|| format!("{option} needs a value"))
        };
        match option.as_str() {
            "--help" | "-h" | "--json" | "--plain" if inline.is_some() => {
                return Err(format!("{option} takes no value"));
            }
            "--help" | "-h" => return Ok(Command::Help),
            "--json" => story.json = true,
            "--plain" => story.plain = true,
            "--workers" => given_workers = Some(whole("--workers", &value()?, 2, 64)? as usize),
            "--changes" => story.changes = whole("--changes", &value()?, 0, 1000)?,
            "--seconds" => story.watch = seconds("--seconds", &value()?, 0.4, 600.0)?,
            "--poll-interval" => {
                story.poll_interval = seconds("--poll-interval", &value()?, 0.2, longest_interval)?
            }
            "--cache" => story.cache = Some(CacheUrl::parse(&value()?)?),
            "--name" if is_worker => name = value()?,
            _ => {
                return Err(format!(
                    "there is no option {option}; --help shows those that there are"
                ));
            }
        }
    }
    if is_worker {
        return Ok(Command::Worker(WorkerArgs {
            name,
            poll_interval: story.poll_interval,
        }));
    }
    let is_redis = story.cache.as_ref().is_some_and(CacheUrl::is_redis);
    story.workers = given_workers.unwrap_or(if is_redis { REDIS_WORKERS } else { WORKERS });
    if story.watch < story.poll_interval * 2 {
        return Err(format!(
            "--seconds {} is less than two poll intervals of {} s, so no fleet could be seen polling; raise --seconds",
            story.watch.as_secs_f64(),
            story.poll_interval.as_secs_f64(),
        ));
    }
    Ok(Command::Story(story))
}

fn whole(option: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "{option} takes a number from {least} to {most}, not {value:?}"
        )),
    }
}

fn seconds(option: &str, value: &str, least: f64, most: f64) -> Result<Duration, String> {
    match value.parse() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "{option} takes a number of seconds from {least} to {most}, not {value:?}"
        )),
    }
}
