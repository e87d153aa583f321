//! The examples do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/blocking_worker.rs"]
mod blocking_worker;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/cron_writer.rs"]
mod cron_writer;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/custom_provider.rs"]
mod custom_provider;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/leased_provider.rs"]
mod leased_provider;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/quickstart.rs"]
mod quickstart;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/reader.rs"]
mod reader;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/redis_fleet.rs"]
mod redis_fleet;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/serverless.rs"]
mod serverless;
#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/tiered_boot.rs"]
mod tiered_boot;

use std::path::Path;
use std::time::Duration;

use flagcache::{FlagDefinitionPoller, PollerState, PostHogApi, RefreshOutcome, Role};
use flagcache_providers::testing::{ApiReply, ApiStub, Definitions};

const LIMIT: Duration = Duration::from_secs(10);
const FLAGS: usize = 5;

async fn stub() -> ApiStub {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(Definitions::realistic(FLAGS, 1));
    stub
}

fn api(stub: &ApiStub) -> PostHogApi {
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    api.build().unwrap()
}

/// The URL of a file store, as `FLAGCACHE_URL` would give it.
fn url(folder: &Path) -> String {
    format!("file://{}?service=checkout", folder.display())
}

#[tokio::test]
async fn a_cron_job_writes_and_a_worker_without_a_key_reads() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    let url = url(folder.path());
    let first = cron_writer::run(api(&stub), &url).await.unwrap();
    assert_eq!(
        (first.outcome, first.units_spent),
        (RefreshOutcome::Published, 10)
    );

    let reader = reader::start(&url).unwrap();
    reader.wait_ready(LIMIT).await.unwrap();
    assert_eq!(
        (reader.status().role, reader.status().flags),
        (Role::Reader, Some(FLAGS))
    );
    let mut changes = reader.subscribe();

    let second = cron_writer::run(api(&stub), &url).await.unwrap();
    assert_eq!(
        (second.outcome, second.units_spent),
        (RefreshOutcome::Unchanged, 1)
    );
    stub.set_definitions(Definitions::realistic(FLAGS + 1, 1));
    cron_writer::run(api(&stub), &url).await.unwrap();
    let change = tokio::time::timeout(LIMIT, changes.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(change.new.map(|set| set.len()), Some(FLAGS + 1));
    reader.shutdown().await.unwrap();
    assert_eq!(stub.stats().requests, 3, "the reader sends none");
}

#[tokio::test]
async fn a_serverless_function_loads_once_for_many_calls() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    let flags = serverless::start(api(&stub), &url(folder.path())).unwrap();
    for _ in 0..3 {
        assert_eq!(serverless::handle(&flags).await.unwrap(), FLAGS);
    }
    assert_eq!(
        (flags.status().counters.loads, stub.stats().requests),
        (1, 1)
    );
    flags.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_worker_boots_from_its_file_while_all_else_is_down() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    let (fleet, machine) = (folder.path().join("fleet"), folder.path().join("machine"));
    let start = || tiered_boot::start(api(&stub), &url(&fleet), &machine).unwrap();
    let before = start();
    before.wait_ready(LIMIT).await.unwrap();
    assert_eq!(before.status().state, PollerState::Ready);
    has_a_copy(&machine).await;
    before.shutdown().await.unwrap();

    stub.always(ApiReply::status(503));
    std::fs::remove_dir_all(&fleet).unwrap();
    std::fs::write(&fleet, "no folder").unwrap();
    let after = start();
    after.wait_ready(LIMIT).await.unwrap();
    assert_eq!(
        (after.status().state, after.status().flags),
        (PollerState::Stale, Some(FLAGS))
    );
    after.shutdown().await.unwrap();
}

async fn has_a_copy(folder: &Path) {
    let copy = folder.join("checkout.json");
    let appears = async {
        while !copy.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, appears)
        .await
        .expect("a copy in the tier behind");
}

#[tokio::test]
async fn quickstart_takes_the_store_that_the_environment_names() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    let store = quickstart::store(Some(&url(folder.path()))).unwrap();
    let flags = FlagDefinitionPoller::builder()
        .source(api(&stub))
        .flag_definition_cache_provider(store)
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).await.unwrap();
    has_a_copy(folder.path()).await;
    flags.shutdown().await.unwrap();
}

#[tokio::test]
async fn custom_provider_shares_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let requests = custom_provider::run(folder.path()).await.unwrap();
    assert_eq!(
        requests,
        [1, 0],
        "the second worker reads what the first one stored"
    );

    // Both workers are gone and the copy is still there, for the next one to lead with.
    let next = custom_provider::FolderStore::new(folder.path()).unwrap();
    assert!(next.should_fetch_flag_definitions().unwrap());
    let copy = next.get_flag_definitions().unwrap().unwrap();
    assert_eq!(copy.raw_json(), custom_provider::DEFINITIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_tokio_works_off_its_jobs() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    stub.set_definitions(r#"{"flags":[{"key":"on","active":true},{"key":"off","active":false}]}"#);
    let (api, url) = (api(&stub), url(folder.path()));
    // A thread of its own, as a program without tokio has.
    let work = move || {
        let flags = blocking_worker::start(api, &url).unwrap();
        flags.wait_ready(LIMIT).unwrap();
        let answers =
            ["on", "off", "none"].map(|key| blocking_worker::handle(&flags, key).unwrap());
        assert_eq!(answers, [true, false, false]);
        let mut jobs = 0;
        let taken = std::iter::from_fn(|| {
            jobs += 1;
            (jobs <= 100).then(|| "on".to_owned())
        });
        blocking_worker::work(&flags, taken).unwrap();
        // Each of the four threads has seen the end of them.
        assert_eq!(
            (jobs, flags.status().state),
            (100 + 4, PollerState::Stopped)
        );
    };
    tokio::task::spawn_blocking(move || std::thread::spawn(work).join().unwrap())
        .await
        .unwrap();
    assert_eq!(stub.stats().requests, 1);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_fleet_shares_a_redis_and_replaces_its_leader() {
    let (stub, server) = (stub().await, flagcache_test_support::RedisServer::start());
    let mut fleet: Vec<_> = (0..3)
        .map(|_| redis_fleet::start(api(&stub), &server.url()).unwrap())
        .collect();
    for flags in &fleet {
        flags.wait_ready(LIMIT).await.unwrap();
        assert_eq!(flags.status().flags, Some(FLAGS));
    }
    assert_eq!((stub.stats().requests, stub.stats().units), (1, 10));
    for left in [2, 1] {
        redis_fleet::end_one(&mut fleet).await.unwrap();
        assert_eq!(fleet.len(), left);
        assert!(
            fleet
                .iter()
                .any(|flags| flags.status().role == Role::Leader)
        );
    }
    // The next leader takes its flags over with the ETag, so all that it asks is whether they are current.
    stub.set_definitions(Definitions::realistic(FLAGS + 1, 1));
    // The first may join a load whose request was sent before.
    fleet[0].refresh().await.unwrap();
    fleet[0].refresh().await.unwrap();
    assert_eq!(fleet[0].status().flags, Some(FLAGS + 1));
    assert_eq!(stub.stats().ok, 2);
    redis_fleet::end_one(&mut fleet).await.unwrap();
}

/// What `examples/inspect` prints about this store, and whether it succeeds. `cargo test` builds the example;
/// `cargo test --test examples` does not, and uses the one that was built last.
async fn inspected(url: &str, api: Option<&ApiStub>, arguments: &[&str]) -> (bool, String) {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    let program = folder
        .join("inspect")
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --example inspect` with the features of this test first",
        program.display()
    );
    let mut command = tokio::process::Command::new(program);
    for name in [
        "POSTHOG_HOST",
        "POSTHOG_PROJECT_KEY",
        "POSTHOG_SECRET_KEY",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    if let Some(stub) = api {
        command
            .env("POSTHOG_HOST", stub.url())
            .env("POSTHOG_PROJECT_KEY", ApiStub::PROJECT_KEY)
            .env("POSTHOG_SECRET_KEY", ApiStub::SECRET_KEY);
    }
    command
        .env("FLAGCACHE_URL", url)
        .args(arguments)
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    for secret in [ApiStub::PROJECT_KEY, ApiStub::SECRET_KEY] {
        assert!(!text.contains(secret), "{text}");
    }
    (output.status.success(), text)
}

/// The value of a line of the report.
fn line<'a>(report: &'a str, name: &str) -> &'a str {
    let mut lines = report.lines();
    let value = lines.find_map(|line| line.strip_prefix(&format!("{name:<14} ")));
    value.unwrap_or_else(|| panic!("no line {name} in\n{report}"))
}

/// Two flags, of which the second is the larger one and has a condition.
const INSPECTED: &str = r#"{"flags":[{"key":"small","active":true},{"key":"large","active":true,"filters":{"groups":[
    {"properties":[{"key":"email","operator":"exact","value":"ada@example.com","type":"person"}]}]}}],
    "cohorts":{"7":{"type":"AND","values":[]}},"group_type_mapping":{"0":"company"}}"#;

/// The names, times and contents of all files of a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, std::time::SystemTime, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let modified = path.metadata().unwrap().modified().unwrap();
            let content = std::fs::read(&path).unwrap();
            (path, modified, content)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn inspect_shows_what_a_file_store_holds_and_changes_nothing() {
    let (stub, folder) = (stub().await, tempfile::tempdir().unwrap());
    stub.set_definitions(INSPECTED);
    let url = url(folder.path());
    let (_, report) = inspected(&url, None, &[]).await;
    assert_eq!(line(&report, "copy"), "none");
    if cfg!(target_os = "linux") {
        assert_eq!(line(&report, "leader"), "none that this machine shows");
    }
    assert!(files(folder.path()).is_empty(), "it writes nothing");

    let store = flagcache::ProviderRegistry::default().open(&url).unwrap();
    let flags = FlagDefinitionPoller::builder()
        .source(api(&stub))
        .flag_definition_cache_provider(store)
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).await.unwrap();
    has_a_copy(folder.path()).await;
    // With the confirmation, the last that a load writes.
    flags.refresh().await.unwrap();
    let before = (files(folder.path()), stub.stats().requests);

    let (succeeded, report) = inspected(&url, None, &["--top", "1"]).await;
    assert!(succeeded, "{report}");
    assert_eq!(line(&report, "service"), "checkout (file)");
    if cfg!(target_os = "linux") {
        let leader = format!("process {};", std::process::id());
        assert!(line(&report, "leader").starts_with(&leader), "{report}");
    }
    assert!(line(&report, "confirmed").ends_with(" ago by PostHog"));
    assert_eq!(line(&report, "last failure"), "none");
    let content = flags.definitions().unwrap().content_fingerprint();
    assert_eq!(line(&report, "content"), content.to_string());
    assert_eq!(line(&report, "flags"), "2");
    assert!(line(&report, "cohorts").starts_with("1, "), "{report}");
    assert!(line(&report, "group types").starts_with("1, "), "{report}");
    assert!(
        line(&report, "largest flags").starts_with("1 with "),
        "{report}"
    );
    assert!(report.contains(" large\n") && !report.contains(" small\n"));
    assert!(line(&report, "API").starts_with("not asked"), "{report}");
    assert!(!report.contains("ada@example.com"), "{report}");

    let (_, report) = inspected(&url, None, &["--show-flag", "large"]).await;
    assert!(report.contains("ada@example.com"), "{report}");
    let (succeeded, report) = inspected(&url, None, &["--show-flag", "absent"]).await;
    assert!(
        !succeeded && report.contains("no flag `absent`"),
        "{report}"
    );
    assert_eq!((files(folder.path()), stub.stats().requests), before);

    let (_, report) = inspected(&url, Some(&stub), &[]).await;
    assert_eq!(line(&report, "API"), "the copy is current (304, 1 unit)");
    stub.set_definitions(
        r#"{"flags":[{"key":"small","active":false},{"key":"new","active":true}]}"#,
    );
    let (_, report) = inspected(&url, Some(&stub), &[]).await;
    assert_eq!(
        line(&report, "API"),
        "differs (200, 10 units): 1 flags added, 1 removed, 1 changed"
    );
    for shown in ["+ new", "- large", "~ small", "* cohorts"] {
        assert!(report.contains(&format!("  {shown}\n")), "{report}");
    }
    assert_eq!(files(folder.path()), before.0);
    flags.shutdown().await.unwrap();
}

#[tokio::test]
async fn inspect_says_what_it_cannot_do() {
    let (succeeded, report) = inspected("memory:", None, &[]).await;
    assert!(
        !succeeded && report.contains("ask that process"),
        "{report}"
    );
    let (succeeded, report) = inspected("memory:", None, &["--sevice", "a"]).await;
    assert!(!succeeded && report.contains("usage: "), "{report}");
}

#[cfg(all(feature = "redis", feature = "testing"))]
#[tokio::test]
async fn inspect_shows_what_a_redis_holds_and_changes_nothing() {
    let (stub, server) = (stub().await, flagcache_test_support::RedisServer::start());
    stub.set_definitions(INSPECTED);
    let flags = redis_fleet::start(api(&stub), &server.url()).unwrap();
    flags.wait_ready(LIMIT).await.unwrap();
    flags.refresh().await.unwrap();
    let (_, report) = inspected(&server.url(), None, &["--service", "checkout"]).await;
    assert!(line(&report, "leader").starts_with("worker "), "{report}");
    assert!(
        line(&report, "leader").contains("; the lease ends in "),
        "{report}"
    );
    flags.shutdown().await.unwrap();

    let ttl = || server.run::<u64>("PTTL posthog:flags:checkout");
    server.run::<()>("CONFIG RESETSTAT");
    let before = ttl();
    let (succeeded, report) = inspected(&server.url(), None, &["--service", "checkout"]).await;
    assert!(succeeded, "{report}");
    assert_eq!(line(&report, "service"), "checkout (redis)");
    assert_eq!(line(&report, "leader"), "none");
    assert!(line(&report, "confirmed").ends_with(" ago by PostHog"));
    assert_eq!(
        line(&report, "TTL"),
        "23 h left, unless a leader extends it"
    );
    assert_eq!(line(&report, "patches"), "none");
    assert_eq!(line(&report, "flags"), "2");
    assert!(ttl() <= before, "it extended the TTL");
    assert!(!server.run::<bool>("EXISTS posthog:flags:checkout:lock"));
    let commands = server.run::<String>("INFO commandstats");
    for written in [
        "set", "pexpire", "persist", "del", "hset", "hdel", "publish",
    ] {
        let named = format!("cmdstat_{written}:");
        assert!(!commands.contains(&named), "{written} in\n{commands}");
    }

    // The patches that a leader keeps beside the copy: pairs of a digest and a length, the newest first.
    let patches = [
        "HSET",
        "posthog:flags:checkout:patches",
        "order",
        "ab 120 cd 80 ",
    ];
    server.run_args::<()>(&patches);
    let (_, report) = inspected(&server.url(), None, &["--service", "checkout"]).await;
    assert_eq!(
        line(&report, "patches"),
        "2, in bytes, the newest first: 120, 80"
    );
}

// Every provider that stands in a page or an example keeps the rules that apply to it. Those of
// examples/sqlite_provider, examples/nats_provider and examples/postgres_provider have tests of their own.

mod readme_store_keeps_the_rules {
    use std::sync::Arc;

    use flagcache_providers::testing::FaultInjector;

    include!("readme/store.rs");

    flagcache_providers::conformance!(|| {
        let store = Arc::new(Store::default());
        // One store for all workers: without faults an injector only forwards.
        move || FaultInjector::over(Arc::clone(&store))
    });
}

mod custom_provider_keeps_the_rules {
    use crate::custom_provider::FolderStore;

    flagcache_providers::conformance!(
        || {
            let folder = tempfile::tempdir().unwrap();
            move || FolderStore::new(folder.path()).unwrap()
        },
        elects
    );
}

mod leased_provider_keeps_the_rules {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use flagcache::FlagDefinitionCacheProvider;
    use flagcache_providers::testing::conformance::TestStore;

    use crate::leased_provider::{Leased, Shared};

    const LEASE: Duration = Duration::from_secs(1);

    #[derive(Default)]
    struct Store {
        row: Shared,
        workers: AtomicU32,
    }

    #[async_trait]
    impl TestStore for Store {
        fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
            let worker = self.workers.fetch_add(1, Ordering::Relaxed);
            Arc::new(Leased::new(worker, LEASE, &self.row))
        }

        fn lease_time(&self) -> Duration {
            LEASE
        }

        async fn damage(&self, copy: Option<Bytes>) {
            self.row.lock().unwrap().copy = copy.map(|copy| copy.to_vec());
        }
    }

    flagcache_providers::conformance!(
        Store::default,
        elects,
        lease,
        create_only,
        fenced,
        stored_copy,
        restores,
        steps_down,
        push,
        confirms,
        reports_lease,
        damage
    );
}

/// What a page shows is the code that is tested.
#[test]
fn the_pages_show_the_providers_that_are_tested() {
    let page = include_str!("../docs/guide/provider.md");
    let leased = include_str!("../examples/leased_provider.rs");
    let code = &leased[leased.find("use ").unwrap()..];
    assert!(
        page.contains(&format!("```rust\n{code}```\n")),
        "docs/guide/provider.md: copy examples/leased_provider.rs into it"
    );

    let readme = include_str!("../README.md");
    let store = include_str!("readme/store.rs");
    assert!(
        readme.contains(&format!("```rust\n{store}```\n")),
        "README.md: copy tests/readme/store.rs into it"
    );

    let postgres = include_str!("../docs/guide/postgres_provider.rs");
    let statements: Vec<_> = page
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .collect();
    assert!(statements.len() >= 3);
    for statement in statements {
        assert!(
            postgres.contains(statement),
            "docs/guide/postgres_provider.rs has not this statement:\n{statement}"
        );
    }
}
