//! What a set takes in memory: at the most while it is taken in or given out, and at rest. Counted by an allocator.
//!
//! Only this process is counted, so the API and a leader, where one is needed, are processes of their own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::any::Any;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use flagcache_benches::{Section, StoreLocation, Table, bodies};
use flagcache_core::{
    FlagDefinitionCacheData, FlagDefinitionPoller, FlagDefinitionPollerBuilder, PostHogApi,
};
use flagcache_evaluation::TestFlags;
use flagcache_providers::testing::ApiStub;
use flagcache_test_support::Process;
use posthog_rs::FlagCache;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FLAGS: usize = 10_000;
const COHORTS: usize = 500;
const MOST_AT_PEAK: f64 = 3.0;
const MOST_AT_REST: f64 = 1.5;
const MOST_OF_LEADER: f64 = 2.5;
/// Beyond what any call takes, on whatever machine.
const AMPLE: Duration = Duration::from_secs(60);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["api", gzip] => run().block_on(serve(gzip == "gzip")),
        ["leader", location] => run().block_on(lead(&StoreLocation::parse(location))),
        _ => measure(),
    }
}

fn run() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn measure() {
    let body = bodies::body(FLAGS);
    let stored = bodies::set(body.clone()).to_json();
    let mut rows = Rows::new(body.len());
    rows.add("`from_json` of the stored form", || {
        FlagDefinitionCacheData::from_json(stored.to_vec()).unwrap()
    });
    rows.add("`from_api_response` of an answer", || {
        bodies::set(Bytes::from(body.to_vec()))
    });
    for (name, gzip) in [
        ("a worker without a store: first request", "plain"),
        ("the same, compressed", "gzip"),
    ] {
        let api = Role::start(&["api", gzip]);
        rows.add(name, || loaded(asking(&api.first_line)));
    }
    let folder = tempfile::tempdir().unwrap();
    #[cfg(feature = "redis")]
    let server = flagcache_test_support::RedisServer::start();
    let locations = [
        ("file", StoreLocation::File(folder.path().to_owned())),
        #[cfg(feature = "redis")]
        ("redis", StoreLocation::Redis(server.url())),
    ];
    for (store, location) in &locations {
        let mut leader = Role::start(&["leader", &location.to_string()]);
        let follower = || {
            FlagDefinitionPoller::builder()
                .flag_definition_cache_provider(location.provider("memory", AMPLE))
        };
        rows.add(&format!("a follower on {store}: first read"), || {
            loaded(follower())
        });
        rows.add(
            &format!("a follower on {store}: first read, then a changed set"),
            || {
                let follower = loaded(follower());
                let version = follower.1.status().version;
                leader.next_step();
                follower.refresh();
                assert_eq!(
                    follower.1.status().version,
                    version + 1,
                    "the change was read"
                );
                follower
            },
        );
        drop(leader);
        let api = Role::start(&["api", "plain"]);
        rows.publish(
            &format!("a leader on {store}: first request and publish"),
            || {
                let provider = location.provider("other", AMPLE);
                loaded(asking(&api.first_line).flag_definition_cache_provider(provider))
            },
        );
        drop(api);
        let mut api = Role::start(&["api", "plain"]);
        rows.publish(
            &format!("a leader on {store}: the same, then a changed set"),
            || {
                let provider = location.provider("third", AMPLE);
                let leader =
                    loaded(asking(&api.first_line).flag_definition_cache_provider(provider));
                let version = leader.1.status().version;
                api.next_step();
                leader.refresh();
                assert_eq!(leader.1.status().version, version + 1, "it changed");
                leader
            },
        );
    }
    rows.finish();
}

/// A poller, and what it runs on.
struct Worker(Runtime, FlagDefinitionPoller);

impl Worker {
    fn refresh(&self) {
        self.0.block_on(self.1.refresh()).unwrap();
    }
}

/// Starts it, and makes its first load.
fn loaded(poller: FlagDefinitionPollerBuilder) -> Worker {
    let runtime = run();
    let poller = {
        let _inside = runtime.enter();
        poller.provider_timeout(AMPLE).manual().start().unwrap()
    };
    let worker = Worker(runtime, poller);
    worker.refresh();
    assert_eq!(worker.1.definitions().unwrap().len(), FLAGS);
    worker
}

fn asking(api: &str) -> FlagDefinitionPollerBuilder {
    let api = PostHogApi::builder()
        .host(api)
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    FlagDefinitionPoller::builder().source(api.build().unwrap())
}

struct Rows {
    payload: f64,
    table: Table,
    peak: f64,
    rest: f64,
    peak_of_leader: f64,
}

impl Rows {
    fn new(payload: usize) -> Self {
        Self {
            payload: payload as f64,
            table: Table::new("memory", &["", "at the peak", "at rest"]),
            peak: 0.0,
            rest: 0.0,
            peak_of_leader: 0.0,
        }
    }

    /// A way to decode definitions. `run` returns the result, which stays in memory.
    fn add<T: Any>(&mut self, name: &str, run: impl FnOnce() -> T) {
        let [peak, rest] = self.row(name, run);
        self.peak = self.peak.max(peak);
        self.rest = self.rest.max(rest);
    }

    /// A leader, which also publishes the definitions.
    fn publish<T: Any>(&mut self, name: &str, run: impl FnOnce() -> T) {
        let [peak, _] = self.row(name, run);
        self.peak_of_leader = self.peak_of_leader.max(peak);
    }

    fn row<T: Any>(&mut self, name: &str, run: impl FnOnce() -> T) -> [f64; 2] {
        let profiler = dhat::Profiler::builder().testing().build();
        let kept = run();
        let stats = dhat::HeapStats::get();
        drop(kept);
        drop(profiler);
        let [peak, rest] =
            [stats.max_bytes, stats.curr_bytes].map(|bytes| bytes as f64 / self.payload);
        self.table.row([
            name.to_owned(),
            format!("{peak:.2} ×"),
            format!("{rest:.2} ×"),
        ]);
        [peak, rest]
    }

    fn finish(self) {
        let Self {
            payload,
            table,
            peak,
            rest,
            peak_of_leader,
        } = self;
        let mut section = Section::new("Memory");
        section.say(format!(
            "What the process has allocated, its runtime and its connections among it, for a set of {FLAGS} flags, \
             {:.1} MB, as multiples of that: at the most, and when all is done and the set is at hand.",
            payload / 1e6
        ));
        section.tables.push(table);
        section.tables.push(evaluated());
        section.judge(
            "memory of a worker that takes in a set, as a multiple of its length",
            "≤ 3 ×",
            format!("{peak:.2} × at the most"),
            peak <= MOST_AT_PEAK,
        );
        section.judge(
            "memory of such a worker at rest, as a multiple of the set's length",
            "≤ 1.5 ×",
            format!("{rest:.2} × at the most"),
            rest <= MOST_AT_REST,
        );
        section.judge(
            "memory of a leader that publishes, as a multiple of the set's length",
            "≤ 2.5 ×",
            format!("{peak_of_leader:.2} × at the most"),
            peak_of_leader <= MOST_OF_LEADER,
        );
        section.finish("memory");
    }
}

/// What definitions take that are evaluated, and those of the peer.
fn evaluated() -> Table {
    let body = bodies::with_cohorts(FLAGS, COHORTS, 50);
    let text = String::from_utf8(body.to_vec()).unwrap();
    let title = format!(
        "definitions that are evaluated: {FLAGS} flags and {COHORTS} cohorts, {:.1} MB of JSON",
        body.len() as f64 / 1e6
    );
    let mut table = Table::new(&title, &["", "at the peak", "at rest"]);
    let mut add = |name: &str, run: &dyn Fn() -> Box<dyn Any>| {
        let profiler = dhat::Profiler::builder().testing().build();
        let kept = run();
        let stats = dhat::HeapStats::get();
        drop(kept);
        drop(profiler);
        let [peak, rest] = [stats.max_bytes, stats.curr_bytes]
            .map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        table.row([name.to_owned(), peak, rest]);
    };
    add("flagcache: the definitions alone", &|| {
        Box::new(FlagDefinitionCacheData::from_json(text.clone()).unwrap())
    });
    add(
        "flagcache: the definitions, and what is evaluated of them",
        &|| Box::new(TestFlags::from_json(text.clone()).unwrap()),
    );
    add("posthog_rs: `FlagCache`", &|| {
        let cache = FlagCache::new();
        cache.update(bodies::decoded_by_the_peer(&body));
        Box::new(cache)
    });
    table
}

/// This program in another role. Killed when dropped.
struct Role {
    process: Process,
    lines: Box<dyn Iterator<Item = String>>,
    /// Its first line.
    first_line: String,
}

impl Role {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = Process::start_piped(command.args(args)).unwrap();
        let mut lines = Box::new(process.lines());
        let first_line = lines.next().unwrap();
        Self {
            process,
            lines,
            first_line,
        }
    }

    /// Lets it do the next step, and waits until it is done.
    fn next_step(&mut self) {
        self.process.send_line("").unwrap();
        self.lines.next().unwrap();
    }
}

/// The API. Serves one set, and from each line on another; writes its URL once it does.
async fn serve(gzip: bool) {
    let api = ApiStub::start().await.unwrap();
    api.set_gzip(gzip);
    let bodies = [bodies::body(FLAGS), bodies::changed_body(FLAGS, 12.5)];
    for body in bodies.iter().cycle() {
        api.set_definitions(body.clone());
        println!("{}", api.url());
        if !tokio::task::spawn_blocking(wait_for_a_line).await.unwrap() {
            break;
        }
    }
}

/// A leader, which publishes one set, and at each line another.
async fn lead(location: &StoreLocation) {
    let provider = location.provider("memory", AMPLE);
    let bodies = [bodies::body(FLAGS), bodies::changed_body(FLAGS, 12.5)];
    for body in bodies.iter().cycle() {
        assert!(
            provider.should_fetch_flag_definitions().await.unwrap(),
            "no other worker leads"
        );
        provider
            .on_flag_definitions_received(&bodies::set(body.clone()))
            .await
            .unwrap();
        println!("published");
        if !tokio::task::spawn_blocking(wait_for_a_line).await.unwrap() {
            break;
        }
    }
}

/// `false` at the end of the input.
fn wait_for_a_line() -> bool {
    std::io::stdin()
        .read_line(&mut String::new())
        .is_ok_and(|read| read > 0)
}
