//! Runs the conformance kit on the store with a real server. If no server is installed, the test is reported as
//! ignored; in CI it fails.

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::jetstream::{
    self,
    stream::{self, Stream},
};
use async_trait::async_trait;
use bytes::Bytes;
use flagcache::testing::conformance::{CASES, POLL_INTERVAL, TestStore};
use flagcache::testing::{Connections, Outage, TcpProxy};
use flagcache::{FlagDefinitionCacheProvider, Versioned};
use flagcache_test_support::FreePort;
use nats_provider::NatsStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use xxhash_rust::xxh3::xxh3_64;

/// Twice the timeout of a call, so that a lease does not expire on a busy machine.
const LEASE_TTL: Duration = Duration::from_secs(2);

/// How many rules run at the same time, limited for the same reason.
const AT_ONCE: usize = 6;

/// A server on a free port of 127.0.0.1, killed when dropped.
struct Server {
    nats: Child,
    port: FreePort,
    _folder: TempDir,
}

impl Server {
    fn start(program: &PathBuf) -> Self {
        let (folder, port) = (
            TempDir::new().expect("a folder for the server"),
            FreePort::find(),
        );
        let mut nats = Command::new(program);
        nats.args([
            "--addr",
            "127.0.0.1",
            "--jetstream",
            "--port",
            &port.number().to_string(),
            "--store_dir",
        ]);
        nats.arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            nats: nats.spawn().expect("nats-server"),
            port,
            _folder: folder,
        }
    }

    /// Waits until the server answers, and returns the stream of the bucket.
    async fn bucket(&self) -> Stream {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let made = async {
                let client =
                    async_nats::connect(format!("127.0.0.1:{}", self.port.number())).await?;
                // The configuration of `nats kv add flags`.
                let bucket = stream::Config {
                    name: "KV_flags".to_owned(),
                    subjects: vec!["$KV.flags.>".to_owned()],
                    max_messages_per_subject: 1,
                    discard: stream::DiscardPolicy::New,
                    allow_rollup: true,
                    deny_delete: true,
                    ..stream::Config::default()
                };
                Ok::<_, async_nats::Error>(jetstream::new(client).create_stream(bucket).await?)
            };
            match made.await {
                Ok(bucket) => return bucket,
                Err(error) => assert!(
                    Instant::now() < deadline,
                    "the server does not answer: {error}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.nats.kill();
        let _ = self.nats.wait();
    }
}

/// A separate service in the bucket, behind a separate proxy.
struct Nats {
    bucket: Stream,
    service: String,
    proxy: TcpProxy,
}

impl Nats {
    fn fresh(server: &Server, bucket: &Stream) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let proxy =
            TcpProxy::start(([127, 0, 0, 1], server.port.number()).into()).expect("a proxy");
        let service = format!("kit-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self {
            bucket: bucket.clone(),
            service,
            proxy,
        }
    }

    fn subject(&self, name: &str) -> String {
        format!("$KV.flags.posthog/flags/{}/{name}", self.service)
    }
}

#[async_trait]
impl TestStore for Nats {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let options = ConnectOptions::new().retry_on_initial_connect();
        let client = block_in_place(|| {
            Handle::current().block_on(options.connect(self.proxy.addr().to_string()))
        });
        let store = NatsStore::new(client.expect("a client"));
        let store = Versioned::new(store, &self.service).expect("a name for keys");
        Arc::new(store.with_lease_ttl(LEASE_TTL).expect("a lease").provider())
    }

    /// The lease is renewed until two polls were missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let mut head: Value = match self
            .bucket
            .get_last_raw_message_by_subject(&self.subject("head"))
            .await
        {
            Ok(head) => serde_json::from_slice(&head.payload).expect("a record"),
            Err(_) => {
                json!({"schema": 1, "leader": null, "term": 0, "renewal": 0, "lease_ms": 1000, "copy": null})
            }
        };
        let slot = head["copy"]["slot"].as_str().unwrap_or("a").to_owned();
        let Some(copy) = copy else {
            self.bucket
                .purge()
                .filter(self.subject(&slot))
                .await
                .expect("damage");
            return;
        };
        // As a tool that knows the format would write it: the record identifies the value of the slot.
        let hash = format!("{:016x}", xxh3_64(&copy));
        head["copy"] = json!({"slot": slot, "length": copy.len(), "hash": hash});
        let client = async_nats::connect(self.proxy.addr().to_string())
            .await
            .expect("a client");
        let jetstream = jetstream::new(client);
        for (name, value) in [(&*slot, copy), ("head", head.to_string().into())] {
            let written = jetstream
                .publish(self.subject(name), value)
                .await
                .expect("damage");
            written.await.expect("damage");
        }
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

fn main() -> ExitCode {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let program = folders
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.exists());
    let Some(program) = program else {
        return missing();
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let server = Server::start(&program);
    let failed = runtime.expect("a runtime").block_on(async {
        let bucket = server.bucket().await;
        let mut failed = 0;
        for cases in CASES.chunks(AT_ONCE) {
            let run = |case: &'static flagcache::testing::conformance::Case| {
                let store = Nats::fresh(&server, &bucket);
                tokio::spawn(async move { (case.run)(&store).await })
            };
            let running: Vec<_> = cases.iter().map(run).collect();
            for (case, ended) in cases.iter().zip(running) {
                let broken = ended.await.err();
                failed += usize::from(broken.is_some());
                let verdict = broken.map_or("ok".to_owned(), |error| {
                    format!("FAILED: {}", message(error))
                });
                println!("test {} ... {verdict}", case.name);
            }
        }
        failed
    });
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn message(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

fn missing() -> ExitCode {
    const REASON: &str = "NATS is not installed (Debian and Ubuntu: apt-get install nats-server)";
    const TEST: &str = "the_store_keeps_every_rule";
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        println!("test {TEST} ... FAILED: {REASON}");
        return ExitCode::FAILURE;
    }
    println!("test {TEST} ... ignored, {REASON}");
    ExitCode::SUCCESS
}
