//! A primary, a replica of it, and the Sentinels that watch them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::worker::SERVICE;
use flagcache_providers::testing::RedisServer;

const PRIMARY: &str = "flags";

/// A Sentinel process. Killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    fn start(primary: &RedisServer, quorum: usize, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // It writes what it learns into its configuration.
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {PRIMARY} 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds {PRIMARY} 1000\nsentinel failover-timeout {PRIMARY} 5000\n{more}\n",
            primary.port()
        );
        std::fs::write(folder.path().join("sentinel.conf"), config).unwrap();
        let child = Command::new("redis-server")
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server");
        Self { child, port, _folder: folder }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it knows of the primary, unless it does not answer yet.
    fn sees(&self) -> Option<redis::RedisResult<std::collections::HashMap<String, String>>> {
        let client = redis::Client::open(format!("redis://{}", self.address())).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_millis(500)).ok()?;
        Some(redis::cmd("SENTINEL").arg("MASTER").arg(PRIMARY).query(&mut connection))
    }

    /// Makes the replica the primary while both run.
    pub(crate) fn fail_over(&self) {
        let client = redis::Client::open(format!("redis://{}", self.address())).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).unwrap();
        // Until it has heard from the replica how it is, it does not find it suitable.
        wait("the Sentinel begins", || {
            redis::cmd("SENTINEL").arg("FAILOVER").arg(PRIMARY).exec(&mut connection).is_ok()
        });
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole of it.
pub(crate) struct Watched {
    pub(crate) primary: RedisServer,
    pub(crate) replica: RedisServer,
    pub(crate) sentinels: Vec<Sentinel>,
}

impl Watched {
    /// Starts three Sentinels, and waits until they know each other and the replica.
    pub(crate) fn start() -> Self {
        Self::start_with(3, "")
    }

    pub(crate) fn start_with(sentinels: usize, more: &str) -> Self {
        let (primary, replica) = (RedisServer::start(), RedisServer::start());
        replica.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        wait("the replica has a copy", || replica.run::<String>("INFO replication").contains("master_link_status:up"));
        let quorum = sentinels / 2 + 1;
        let watched: Vec<_> = (0..sentinels).map(|_| Sentinel::start(&primary, quorum, more)).collect();
        let others = (sentinels - 1).to_string();
        for sentinel in &watched {
            wait("the Sentinels know each other and the replica", || match sentinel.sees() {
                Some(Ok(seen)) => seen["num-slaves"] == "1" && seen["num-other-sentinels"] == others,
                // One that demands a password answers.
                Some(Err(error)) => error.code() == Some("NOAUTH"),
                None => false,
            });
        }
        Self { primary, replica, sentinels: watched }
    }

    /// A store that knows the Sentinels.
    pub(crate) fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(self.url(PRIMARY), SERVICE)
    }

    pub(crate) fn url(&self, primary: &str) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(Sentinel::address).collect();
        format!("redis+sentinel://{}/{primary}", sentinels.join(","))
    }
}

/// Answers as a Sentinel would that was cut off from the others before they agreed on another primary. Gives its address.
pub(crate) async fn outdated(primary: &RedisServer) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let port = primary.port().to_string();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            // One command a connection.
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
