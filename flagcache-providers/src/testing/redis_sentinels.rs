//! A primary, a replica of it, and the Sentinels that watch them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose server fails it fails by panicking"
)]

use std::collections::HashMap;
use std::process::{Child, Command};
use std::time::Duration;

use redis::RedisResult;
use tempfile::TempDir;

use super::FreePort;
use super::certificates::ServerTls;
use super::redis_server::{RedisServer, program, signal, spawn, wait};

/// A primary, its replica and Sentinels, which call the primary down after 1 s. Killed when dropped. For tests; not
/// API-stable.
///
/// It panics where a test could not go on, as [`RedisServer`] does.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The primary at the start.
    pub primary: RedisServer,
    /// The replica at the start.
    pub replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

impl RedisSentinels {
    /// The name under which the Sentinels know the primary.
    pub const PRIMARY: &str = "flags";

    /// Starts all with three Sentinels, and waits until they know each other and the replica.
    #[must_use = "the servers are killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(3, "", None)
    }

    /// Starts all with that many Sentinels, more lines in their configuration, and TLS. With TLS all of them speak it
    /// among themselves too; each has a plain port for the test.
    #[must_use = "the servers are killed when it is dropped"]
    pub fn start_with(sentinels: usize, lines: &str, tls: Option<&ServerTls>) -> Self {
        let options = if tls.is_some() {
            ["--tls-replication", "yes"].as_slice()
        } else {
            &[]
        };
        let (primary, replica) = (
            RedisServer::start_as(tls, false, options),
            RedisServer::start_as(tls, false, options),
        );
        replica.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.main_port()));
        wait("the replica has a copy", || {
            replica
                .run::<String>("INFO replication")
                .contains("master_link_status:up")
        });
        let quorum = sentinels / 2 + 1;
        let sentinels = (0..sentinels)
            .map(|_| Sentinel::start(primary.main_port(), quorum, lines, tls))
            .collect();
        let all = Self {
            primary,
            replica,
            sentinels,
        };
        all.know_each_other();
        all
    }

    fn know_each_other(&self) {
        let others = (self.sentinels.len() - 1).to_string();
        for sentinel in &self.sentinels {
            wait(
                "the Sentinels know each other and the replica",
                || match sentinel.sees() {
                    Some(Ok(seen)) => {
                        seen["num-slaves"] == "1" && seen["num-other-sentinels"] == others
                    }
                    // One that demands a password answers.
                    Some(Err(error)) => matches!(error.code(), Some("NOAUTH" | "NOPERM")),
                    None => false,
                },
            );
        }
    }

    /// Where a store finds them: `redis+sentinel://127.0.0.1:<port>,…/<primary>`, with `rediss` if they speak TLS.
    pub fn url(&self, primary: &str) -> String {
        let scheme = if self.primary.tls_port().is_some() {
            "rediss"
        } else {
            "redis"
        };
        let sentinels: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.main_port()))
            .collect();
        format!("{scheme}+sentinel://{}/{primary}", sentinels.join(","))
    }

    /// The server that takes writes now and that a Sentinel names, if there is one.
    pub fn primary(&self) -> Option<&RedisServer> {
        let named: Vec<_> = self.sentinels.iter().filter_map(Sentinel::names).collect();
        [&self.primary, &self.replica].into_iter().find(|server| {
            named.contains(&server.main_port())
                && server
                    .try_run::<String>(&["INFO", "replication"])
                    .is_ok_and(|info| info.contains("role:master"))
        })
    }

    /// Makes the replica the primary while both run.
    pub fn fail_over(&self) {
        // The Sentinel does not find a replica suitable before it has its first report.
        wait("the Sentinel begins", || {
            let mut connection = self.sentinels[0].connect().unwrap();
            redis::cmd("SENTINEL")
                .arg("FAILOVER")
                .arg(Self::PRIMARY)
                .exec(&mut connection)
                .is_ok()
        });
    }

    /// Kills one Sentinel.
    pub fn kill_sentinel(&mut self, index: usize) {
        self.sentinels[index].kill();
    }

    /// Kills all servers and Sentinels.
    pub fn kill_all(&mut self) {
        self.sentinels.iter_mut().for_each(Sentinel::kill);
        self.primary.kill();
        self.replica.kill();
    }

    /// Starts them again, the servers empty and in their roles at the start.
    pub fn start_all_again(&mut self) {
        self.primary.start_again();
        self.replica.start_again();
        self.replica
            .run::<()>(&format!("REPLICAOF 127.0.0.1 {}", self.primary.main_port()));
        self.sentinels.iter_mut().for_each(Sentinel::start_again);
    }

    /// Stops all processes where they stand.
    pub fn hang_all(&self) {
        self.children("-STOP");
        self.primary.hang();
        self.replica.hang();
    }

    /// Lets all go on.
    pub fn all_go_on(&self) {
        self.primary.resume();
        self.replica.resume();
        self.children("-CONT");
    }

    fn children(&self, name: &str) {
        for sentinel in &self.sentinels {
            signal(&sentinel.child, name);
        }
    }
}

/// A Sentinel process. Killed when dropped.
#[derive(Debug)]
struct Sentinel {
    child: Child,
    port: FreePort,
    tls_port: Option<FreePort>,
    folder: TempDir,
}

impl Sentinel {
    fn start(primary: u16, quorum: usize, more: &str, tls: Option<&ServerTls>) -> Self {
        for _ in 0..10 {
            let (folder, port, tls_port) = (
                tempfile::tempdir().unwrap(),
                FreePort::find(),
                tls.map(|_| FreePort::find()),
            );
            let mut settings = format!("port {}\nbind 127.0.0.1\n{more}\n", port.number());
            if let (Some(tls), Some(port)) = (tls, &tls_port) {
                settings += &format!(
                    "tls-port {}\ntls-replication yes\n{}",
                    port.number(),
                    tls.lines()
                );
            }
            let name = RedisSentinels::PRIMARY;
            // It writes what it learns into its configuration.
            let config = format!(
                "{settings}sentinel monitor {name} 127.0.0.1 {primary} {quorum}\n\
                 sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
            );
            std::fs::write(folder.path().join("sentinel.conf"), config).unwrap();
            let mut sentinel = Self {
                child: launch(&folder),
                port,
                tls_port,
                folder,
            };
            // Should another program have taken the port meanwhile, it exits, and we try again.
            if sentinel.listens() {
                return sentinel;
            }
        }
        panic!("no Sentinel starts with {more:?}");
    }

    fn listens(&mut self) -> bool {
        let mut exited = false;
        wait("a Sentinel listens", || {
            exited = self.child.try_wait().unwrap().is_some();
            exited || self.sees().is_some()
        });
        !exited
    }

    /// The port of those who speak to it as it was started to be spoken to.
    fn main_port(&self) -> u16 {
        self.tls_port.as_ref().unwrap_or(&self.port).number()
    }

    fn connect(&self) -> RedisResult<redis::Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port.number()))?;
        let connection = client.get_connection_with_timeout(Duration::from_millis(500))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    /// What it knows of the primary, unless it does not answer yet.
    fn sees(&self) -> Option<RedisResult<HashMap<String, String>>> {
        let mut connection = self.connect().ok()?;
        Some(
            redis::cmd("SENTINEL")
                .arg("MASTER")
                .arg(RedisSentinels::PRIMARY)
                .query(&mut connection),
        )
    }

    /// The port at which it says that the primary is.
    fn names(&self) -> Option<u16> {
        self.sees()?.ok()?.get("port")?.parse().ok()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = launch(&self.folder);
        assert!(
            self.listens(),
            "the Sentinel did not start again on port {}",
            self.port.number()
        );
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &TempDir) -> Child {
    spawn(
        Command::new(program())
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(folder.path()),
    )
}
