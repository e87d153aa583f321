//! [`RedisSentinels`]: a primary, a replica of it, and the Sentinels that monitor them.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use redis::RedisResult;
use tempfile::TempDir;

use super::server::{RedisServer, STARTS_WITHIN, program, spawn};
use crate::certificates::ServerTls;
use crate::free_port::FreePort;
use crate::process::Process;
use crate::wait::wait_until;

/// A primary, its replica and Sentinels, which consider the primary down after 1 s. Killed when dropped.
///
/// Methods panic on errors, as those of [`RedisServer`] do.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The primary at the start.
    pub primary: RedisServer,
    /// The replica at the start.
    pub replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

impl RedisSentinels {
    /// The name of the primary in the Sentinels.
    pub const PRIMARY: &str = "flags";

    /// Starts the servers and three Sentinels, and waits until these know each other and the replica.
    #[must_use = "the servers are killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(3, "", None)
    }

    /// Starts the servers and a number of Sentinels, with additional lines in their configuration, and with TLS, which
    /// all of them then also use between each other; each also has a plain port for the test.
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
        wait_until("the replica has a copy", STARTS_WITHIN, || {
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
            wait_until(
                "the Sentinels know each other and the replica",
                STARTS_WITHIN,
                || match sentinel.sees() {
                    Some(Ok(seen)) => {
                        seen["num-slaves"] == "1" && seen["num-other-sentinels"] == others
                    }
                    // A Sentinel that requires a password is running.
                    Some(Err(error)) => matches!(error.code(), Some("NOAUTH" | "NOPERM")),
                    None => false,
                },
            );
        }
    }

    /// The URL of the Sentinels for a store: `redis+sentinel://127.0.0.1:<port>,…/<primary>`, with `rediss` if they use
    /// TLS.
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

    /// The server that accepts writes and that a Sentinel names as the primary, if any.
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
        // The Sentinel does not select a replica before it has received its first report.
        wait_until("the Sentinel begins", STARTS_WITHIN, || {
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

    /// Starts them again: the servers are empty and in their original roles.
    pub fn start_all_again(&mut self) {
        self.primary.start_again();
        self.replica.start_again();
        self.replica
            .run::<()>(&format!("REPLICAOF 127.0.0.1 {}", self.primary.main_port()));
        self.sentinels.iter_mut().for_each(Sentinel::start_again);
    }

    /// Pauses all processes.
    pub fn hang_all(&self) {
        for sentinel in &self.sentinels {
            sentinel.process.pause().unwrap();
        }
        self.primary.hang();
        self.replica.hang();
    }

    /// Resumes all processes.
    pub fn resume_all(&self) {
        self.primary.resume();
        self.replica.resume();
        for sentinel in &self.sentinels {
            sentinel.process.resume().unwrap();
        }
    }
}

/// A Sentinel process. Killed when dropped.
#[derive(Debug)]
struct Sentinel {
    process: Process,
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
            // A Sentinel rewrites its configuration file.
            let config = format!(
                "{settings}sentinel monitor {name} 127.0.0.1 {primary} {quorum}\n\
                 sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
            );
            std::fs::write(folder.path().join("sentinel.conf"), config).unwrap();
            let mut sentinel = Self {
                process: launch(&folder),
                port,
                tls_port,
                folder,
            };
            // If another program has taken the port, the Sentinel exits: try again.
            if sentinel.listens() {
                return sentinel;
            }
        }
        panic!("no Sentinel starts with {more:?}");
    }

    fn listens(&mut self) -> bool {
        let mut exited = false;
        wait_until("a Sentinel listens", STARTS_WITHIN, || {
            exited = self.process.exit().unwrap().is_some();
            exited || self.sees().is_some()
        });
        !exited
    }

    /// The port for clients: the TLS port if it has one.
    fn main_port(&self) -> u16 {
        self.tls_port.as_ref().unwrap_or(&self.port).number()
    }

    fn connect(&self) -> RedisResult<redis::Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port.number()))?;
        let connection = client.get_connection_with_timeout(Duration::from_millis(500))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    /// The Sentinel's information about the primary; `None` if it does not answer yet.
    fn sees(&self) -> Option<RedisResult<HashMap<String, String>>> {
        let mut connection = self.connect().ok()?;
        Some(
            redis::cmd("SENTINEL")
                .arg("MASTER")
                .arg(RedisSentinels::PRIMARY)
                .query(&mut connection),
        )
    }

    /// The port of the primary, according to this Sentinel.
    fn names(&self) -> Option<u16> {
        self.sees()?.ok()?.get("port")?.parse().ok()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    fn start_again(&mut self) {
        self.process = launch(&self.folder);
        assert!(
            self.listens(),
            "the Sentinel did not start again on port {}",
            self.port.number()
        );
    }
}

fn launch(folder: &TempDir) -> Process {
    spawn(
        Command::new(program())
            .args(["sentinel.conf", "--sentinel"])
            .current_dir(folder.path()),
    )
}
