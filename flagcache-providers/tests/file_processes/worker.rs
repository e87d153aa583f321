//! What a worker process does.

use std::env;
use std::fs;
use std::io::stdin;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use flagcache_core::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContextOwner, PollerSchedule,
};
use flagcache_providers::{FileProvider, FileStore};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{interval, sleep};

use crate::process::{FOLDER, ROLE, now, report};

pub(crate) const TICK: Duration = Duration::from_millis(300);

/// Runs in the role that the environment names, if it names one.
pub(crate) fn run() {
    let (Ok(role), Some(folder)) = (env::var(ROLE), env::var_os(FOLDER).map(PathBuf::from)) else {
        return;
    };
    // Ends the line that the test harness has begun.
    println!();
    let store = FileStore::builder(folder, "shop").build().unwrap();
    if role == "attacher" {
        return attach_and_detach(&store);
    }
    let (provider, poller) = (
        store.provider(),
        PollerContextOwner::new(PollerSchedule::new(TICK)),
    );
    provider.on_poller_attached(poller.context());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match role.as_str() {
        "poller" => runtime.block_on(poll(&provider, &poller, commands())),
        "writer" => runtime.block_on(write(&provider)),
        "reader" => runtime.block_on(read(&provider, &store, commands())),
        _ => panic!("no role {role:?}"),
    }
}

/// The lines of the standard input. It ends when the test does.
fn commands() -> UnboundedReceiver<String> {
    let (sender, commands) = unbounded_channel();
    std::thread::spawn(move || {
        stdin()
            .lines()
            .map_while(Result::ok)
            .map(|line| sender.send(line))
            .take_while(Result::is_ok)
            .for_each(drop);
    });
    commands
}

/// Loads at each tick and notification, as a poller does, and publishes on command.
async fn poll(
    provider: &FileProvider,
    poller: &PollerContextOwner,
    mut commands: UnboundedReceiver<String>,
) {
    let mut ticks = interval(TICK);
    let mut last = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = poller.changed() => {}
            command = commands.recv() => {
                let Some(command) = command else { return };
                let version = command.strip_prefix("publish ").unwrap().parse().unwrap();
                let data = definitions(version, 10);
                let began = now();
                provider.on_flag_definitions_received(&data).await.unwrap();
                report("publishes", version, began);
                continue;
            }
        }
        if provider.should_fetch_flag_definitions().await.unwrap() {
            report("leads", 0, now());
            continue;
        }
        let copy = provider.get_flag_definitions().await.unwrap();
        let at = now();
        let version = copy.as_ref().map(version);
        if version != last {
            last = version;
            report("reads", version.unwrap(), at);
        }
        report("follows", 0, at);
    }
}

/// Writes one version after the other, until it is killed. It asks before each, like a poller: a poller that does not ask
/// for 20 s loses its lead, and what it then publishes is not stored.
async fn write(provider: &FileProvider) {
    let mut last = None;
    loop {
        while !provider.should_fetch_flag_definitions().await.unwrap() {
            last = None;
            sleep(Duration::from_millis(1)).await;
        }
        let next = match last {
            Some(last) => last + 1,
            None => {
                let stored = provider.peek_flag_definitions().await.unwrap();
                stored.as_ref().map_or(1, |stored| version(stored) + 1)
            }
        };
        provider
            .on_flag_definitions_received(&definitions(next, flags_of(next)))
            .await
            .unwrap();
        report("wrote", next, now());
        last = Some(next);
    }
}

/// Reads again and again, through the store and directly, and checks that each copy is complete and not older than the last.
async fn read(provider: &FileProvider, store: &FileStore, mut commands: UnboundedReceiver<String>) {
    let (mut reads, mut last) = (0, 0);
    let mut check = |copy: &FlagDefinitionCacheData| {
        // A copy that does not match its fingerprint loses its metadata.
        assert!(copy.etag().is_some(), "not the copy that was written");
        let version = version(copy);
        assert_eq!(copy.len(), flags_of(version));
        assert!(version >= last, "{version} after {last}");
        last = version;
        reads += 1;
    };
    while commands.try_recv().is_err() {
        if let Some(copy) = provider.get_flag_definitions().await.unwrap() {
            check(&copy);
        }
        if let Ok(json) = fs::read(store.path()) {
            check(&FlagDefinitionCacheData::from_json(json).unwrap());
        }
    }
    report("total", reads, now());
}

fn definitions(version: u64, flags: usize) -> FlagDefinitionCacheData {
    let flags: Vec<String> = (0..flags)
        .map(|flag| format!(r#"{{"key":"flag-{flag}"}}"#))
        .collect();
    let body = format!(r#"{{"flags":[{}],"version":{version}}}"#, flags.join(","));
    FlagDefinitionCacheData::from_api_response(
        body,
        Some(&format!("\"{version}\"")),
        SystemTime::now(),
        None,
    )
    .unwrap()
}

/// How many flags the writer puts into a version: each differs in size from the one before.
fn flags_of(version: u64) -> usize {
    (version * 37 % 500) as usize
}

fn version(data: &FlagDefinitionCacheData) -> u64 {
    data.member("version").unwrap().as_str().parse().unwrap()
}

/// Attaches and detaches a poller twice, and reports the number of the store's threads each time.
fn attach_and_detach(store: &FileStore) {
    for _ in 0..2 {
        let (provider, poller) = (
            store.provider(),
            PollerContextOwner::new(PollerSchedule::new(TICK)),
        );
        provider.on_poller_attached(poller.context());
        report("attached", threads_until(1), now());
        drop(provider);
        report("detached", threads_until(0), now());
    }
}

/// Waits for this many threads, with a deadline, and returns how many there are.
fn threads_until(expected: u64) -> u64 {
    let deadline = now() + Duration::from_secs(10);
    while threads() != expected && now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    threads()
}

fn threads() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "flagcache-file").count() as u64
}
