//! Access lists: what the documentation says is what is needed, all of it and no more.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind,
};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{RedisCluster, RedisSentinels, RedisServer};
use tracing_subscriber::fmt::MakeWriter;

use crate::failures::{connect, failed};
use crate::worker::{SERVICE, Worker, set, sized};
use crate::{cluster, sentinels, sharing};

const PASSWORD: &str = "s3cret-pa55";

/// The rule as the documentation has it, for the service `checkout`.
fn documented() -> Vec<&'static str> {
    let docs = include_str!("../../src/redis/docs.md");
    let (_, rule) = docs.split_once("ACL SETUSER app on >…").expect("the rule");
    let (rule, _) = rule.split_once("```").expect("its end");
    rule.split_whitespace().collect()
}

fn grant(server: &RedisServer, rule: &[&str]) {
    let password = format!(">{PASSWORD}");
    server.run_args::<()>(&[&["ACL", "SETUSER", "app", "reset", "on", &password], rule].concat());
}

fn as_app(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.username("app").password(PASSWORD)
}

#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Does all that a store ever does, and gives the errors and warnings that it met.
async fn everything(server: &RedisServer, protocol: &str) -> String {
    server.run::<()>("FLUSHALL");
    server.run::<()>("SCRIPT FLUSH");
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(logs.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut met = Vec::new();
    // So large that it is sent in pieces.
    let large = sized(2, 1 << 20);
    let mut note =
        |result: Result<(), ProviderError>| met.extend(result.err().map(|error| error.to_string()));

    let builder = as_app(RedisStore::builder(
        format!("{}?protocol={protocol}", server.url()),
        SERVICE,
    ));
    for builder in [builder.clone(), builder.data_ttl(None)] {
        let worker = Worker::with(builder.clone());
        note(worker.publish(&sized(1, 1 << 20)).await);
        note(worker.decide().await.map(drop));
        note(worker.publish(&large).await);
        note(
            worker
                .fetch_without_update(FetchOutcome::unchanged(&large))
                .await,
        );
        note(
            worker
                .fetch_without_update(FetchOutcome::failed(
                    FetchErrorKind::QuotaLimited,
                    Some(&large),
                ))
                .await,
        );
        note(
            worker
                .fetch_without_update(failed(Some(&large), connect()))
                .await,
        );
        note(Worker::with(builder).read().await.map(drop));
        note(worker.provider.shutdown().await);
    }
    drop(guard);
    met.push(String::from_utf8_lossy(&logs.0.lock().unwrap()).into_owned());
    met.join("\n")
}

#[tokio::test]
async fn the_documented_rule_is_enough_and_every_part_of_it_is_missed_by_name() {
    let server = RedisServer::start();
    let rule = documented();
    grant(&server, &rule);
    let builder = as_app(RedisStore::builder(server.url(), SERVICE));
    for protocol in ["resp2", "resp3"] {
        assert_eq!(everything(&server, protocol).await, "", "{protocol}");
    }
    sharing::works(&builder, SERVICE, &mut server.admin()).await;

    for taken in &rule {
        let rest: Vec<_> = rule.iter().copied().filter(|part| part != taken).collect();
        grant(&server, &rest);
        // The two protocols subscribe in ways of their own.
        for protocol in ["resp2", "resp3"] {
            let met = everything(&server, protocol).await;
            let named = match taken.split_at(1) {
                ("~", key) if key.ends_with(":patches") => met.contains(&format!("grant `~{key}`")),
                ("~", _) => {
                    met.contains("lacks access to its keys; grant `~posthog:flags:checkout ~")
                }
                ("&", channel) => {
                    met.contains("the Redis user may not subscribe")
                        && met.contains(&format!("`&{channel}`"))
                }
                (_, command @ ("publish" | "subscribe")) => met.contains(&format!("`+{command}`")),
                (_, command) => met.contains(&format!(
                    "the user lacks the permission for {command}; grant `"
                )),
            };
            assert!(named, "without {taken}, {protocol}: {met}");
        }
    }
}

#[tokio::test]
async fn another_database_and_sentinels_take_one_permission_more() {
    let server = RedisServer::start();
    let mut rule = documented();
    grant(&server, &rule);
    let in_two = || {
        Worker::with(as_app(RedisStore::builder(
            format!("{}/2", server.url()),
            SERVICE,
        )))
    };
    lacks(&in_two().decide().await.unwrap_err(), "select");
    rule.push(beside("a database other than 0"));
    grant(&server, &rule);
    in_two().leads().await;

    let watched = RedisSentinels::start_with(1, "", None);
    let mut rule = documented();
    grant(&watched.primary, &rule);
    let behind = || Worker::with(as_app(sentinels::builder(&watched)));
    lacks(&behind().decide().await.unwrap_err(), "role");
    rule.push(beside("with Sentinels"));
    grant(&watched.primary, &rule);
    behind().leads().await;
}

#[tokio::test]
async fn the_user_of_the_sentinels_takes_one_permission_alone() {
    let docs = include_str!("../../src/redis/docs.md");
    let (_, needed) = docs.split_once("their own user needs `").expect("the rule");
    let (needed, _) = needed.split_once("` and nothing else").expect("its end");
    let users =
        format!("user app on >{PASSWORD} {needed}\nuser none on >{PASSWORD}\nuser default off");
    let watched = RedisSentinels::start_with(1, &users, None);
    let user = |name: &str| {
        Worker::with(
            sentinels::builder(&watched)
                .sentinel_username(name)
                .sentinel_password(PASSWORD),
        )
    };
    let error = user("none").decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    assert!(
        error.to_string().ends_with(&format!(
            "lacks a permission of the Sentinel; grant `{needed}`"
        )),
        "{error}"
    );
    user("app").leads().await;
}

#[tokio::test]
async fn a_cluster_takes_one_permission_more_while_the_slot_moves() {
    let nodes = RedisCluster::start();
    let permit = |more: &[&str]| {
        let rule = documented()
            .into_iter()
            .map(|part| part.replace("checkout", cluster::SERVICE));
        let rule: Vec<_> = rule
            .chain(more.iter().map(|&part| part.to_owned()))
            .collect();
        nodes
            .nodes
            .iter()
            .for_each(|node| grant(node, &rule.iter().map(String::as_str).collect::<Vec<_>>()));
    };
    permit(&[]);
    let owner = nodes.owner(cluster::DATA);
    let next = (owner + 1) % 3;
    let builder = as_app(cluster::builder(&nodes, &[next]));
    sharing::works(&builder, cluster::SERVICE, &mut nodes.nodes[owner].admin()).await;

    // The keys are at the next node, the slot is not yet.
    let worker = Worker::with(builder);
    for n in [1, 2] {
        worker.lead_with(&set(n)).await;
    }
    let slot = nodes.begin_move(cluster::DATA, owner, next);
    for suffix in ["", ":lock", ":meta", ":patches"] {
        slot.key(&format!("{}{suffix}", cluster::DATA));
    }
    lacks(&worker.decide().await.unwrap_err(), "asking");
    permit(&[beside("on a cluster")]);
    worker.lead_with(&set(3)).await;
}

/// What the documentation says is needed beside the rule, there.
fn beside(place: &str) -> &'static str {
    let docs = include_str!("../../src/redis/docs.md");
    let row = docs
        .lines()
        .find(|line| line.starts_with(&format!("| {place}")))
        .expect("a row of the table");
    row.split('`').nth(1).expect("a permission")
}

#[track_caller]
fn lacks(error: &ProviderError, command: &str) {
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    let error = error.to_string();
    assert!(
        error.contains(&format!("lacks the permission for {command}; grant `")),
        "{error}"
    );
    assert!(error.ends_with(&format!(" +{command}`")), "{error}");
}
