//! Access lists: what the documentation says is what is needed, all of it and no more.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flagcache_core::{FetchFailure, FetchOutcome, FlagDefinitionCacheProvider, ProviderError};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use tracing_subscriber::fmt::MakeWriter;

use crate::sentinels::Watched;
use crate::sharing;
use crate::worker::{SERVICE, Worker, set};
use flagcache_providers::testing::RedisServer;

const PASSWORD: &str = "s3cret-pa55";

/// The rule as the documentation has it, for the service `checkout`.
fn documented() -> Vec<&'static str> {
    let docs = include_str!("../../src/redis/docs.md");
    let (_, rule) = docs.split_once("ACL SETUSER app on >… ").expect("the rule");
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
async fn everything(server: &RedisServer) -> String {
    server.run::<()>("FLUSHALL");
    server.run::<()>("SCRIPT FLUSH");
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(logs.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut met = Vec::new();
    let mut note = |result: Result<(), ProviderError>| met.extend(result.err().map(|error| error.to_string()));

    let builder = as_app(RedisStore::builder(server.url(), SERVICE));
    for builder in [builder.clone(), builder.copy_life(None)] {
        let worker = Worker::with(builder.clone());
        note(worker.publish(&set(1)).await);
        note(worker.decide().await.map(drop));
        note(worker.publish(&set(2)).await);
        note(worker.not_received(FetchOutcome::unchanged(&set(2))).await);
        note(worker.not_received(FetchOutcome::failed(FetchFailure::QuotaLimited, Some(&set(2)))).await);
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
    assert_eq!(everything(&server).await, "");
    let builder = as_app(RedisStore::builder(server.url(), SERVICE));
    sharing::works(&builder, SERVICE, &mut server.admin()).await;

    for taken in &rule {
        let rest: Vec<_> = rule.iter().copied().filter(|part| part != taken).collect();
        grant(&server, &rest);
        let met = everything(&server).await;
        let named = match taken.split_at(1) {
            ("~", _) => met.contains("lacks access to its keys; grant `~posthog:flags:checkout*"),
            ("&", channel) => {
                met.contains("the Redis user may not subscribe") && met.contains(&format!("`&{channel}`"))
            }
            (_, command @ ("publish" | "subscribe")) => met.contains(&format!("`+{command}`")),
            (_, command) => met.contains(&format!("the user lacks the permission for {command}; grant `")),
        };
        assert!(named, "without {taken}: {met}");
    }
}

#[tokio::test]
async fn another_database_and_sentinels_take_one_permission_more() {
    let server = RedisServer::start();
    let mut rule = documented();
    grant(&server, &rule);
    let in_two = || Worker::with(as_app(RedisStore::builder(format!("{}/2", server.url()), SERVICE)));
    let error = in_two().decide().await.unwrap_err().to_string();
    assert!(error.contains("lacks the permission for select; grant `") && error.ends_with(" +select`"), "{error}");
    rule.push("+select");
    grant(&server, &rule);
    in_two().leads().await;

    let watched = Watched::start_with(1, "");
    let mut rule = documented();
    grant(&watched.primary, &rule);
    let behind = || Worker::with(as_app(watched.builder()));
    let error = behind().decide().await.unwrap_err().to_string();
    assert!(error.contains("lacks the permission for role; grant `") && error.ends_with(" +role`"), "{error}");
    rule.push("+role");
    grant(&watched.primary, &rule);
    behind().leads().await;
}

#[tokio::test]
async fn a_cluster_takes_no_permission_more() {
    let cluster = crate::nodes::Cluster::start();
    let rule: Vec<_> = documented().iter().map(|part| part.replace("checkout", crate::nodes::SERVICE)).collect();
    for node in &cluster.nodes {
        grant(node, &rule.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let owner = cluster.owner();
    let builder = as_app(cluster.builder(&[(owner + 1) % 3]));
    sharing::works(&builder, crate::nodes::SERVICE, &mut cluster.nodes[owner].admin()).await;
}
