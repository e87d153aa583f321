//! A real `redis-server` of the test's own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test whose server fails it fails by panicking")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::FreePort;

/// A `redis-server` on a free port of 127.0.0.1, without persistence. Killed when dropped. For tests; not API-stable.
///
/// It panics where a test could not go on: if `redis-server` is not installed, if it does not answer within 30 s, if a
/// command fails.
///
/// ```no_run
/// use flagcache_providers::testing::RedisServer;
///
/// let mut server = RedisServer::start();
/// server.run::<()>("SET key value");
/// server.hang();          // connections stay open, nothing answers
/// server.go_on();
/// server.kill();
/// server.start_again();   // empty, on the same port
/// ```
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: FreePort,
    folder: TempDir,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more options of `redis-server`: `&["--requirepass", "…"]`.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            // Should another program take the port meanwhile, the server exits, and we try again.
            let port = FreePort::find();
            let child = launch(port.number(), &folder, &options);
            let mut server = Self { child, port, folder, options: options.clone() };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server does not start with {options:?}");
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let client = redis::Client::open(self.url()).unwrap();
            match client.get_connection_with_timeout(Duration::from_millis(500)) {
                Ok(mut connection) => match redis::cmd("PING").query::<String>(&mut connection) {
                    Ok(_) => return true,
                    // It demands a password, so it answers.
                    Err(error) if error.code() == Some("NOAUTH") => return true,
                    Err(_) => {}
                },
                Err(error) if error.code() == Some("NOAUTH") => return true,
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer within 30 s");
    }

    /// Where it listens: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The port at which it listens.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> String {
        self.folder.path().join("redis.sock").display().to_string()
    }

    /// A connection of the test's own.
    pub fn admin(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        let connection = client.get_connection_with_timeout(Duration::from_secs(5)).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        connection
    }

    /// Runs one command: `server.run::<String>("GET key")`. Arguments are split at spaces.
    pub fn run<T: redis::FromRedisValue>(&self, command: &str) -> T {
        self.run_args(&command.split(' ').collect::<Vec<_>>())
    }

    /// Runs one command whose arguments may hold spaces.
    pub fn run_args<T: redis::FromRedisValue>(&self, args: &[&str]) -> T {
        let mut command = redis::cmd(args[0]);
        for arg in &args[1..] {
            command.arg(arg);
        }
        command.query(&mut self.admin()).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Stops the process where it stands (SIGSTOP): connections stay open, nothing answers.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Kills it (SIGKILL). What it held is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        self.child = launch(self.port(), &self.folder, &self.options);
        assert!(self.answers(), "redis-server did not start again on port {}", self.port());
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, folder: &TempDir, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--daemonize", "no", "--unixsocket", "redis.sock", "--enable-debug-command", "yes"])
        .args(options)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start `redis-server`: {error}; install it (Debian and Ubuntu: apt-get install redis-server)")
        })
}
