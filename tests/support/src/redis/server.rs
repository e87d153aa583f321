//! [`RedisServer`]: a real `redis-server` for one test.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::ServerTls;
use crate::free_port::FreePort;
use crate::process::Process;

/// The environment variable that replaces `redis-server` with another program.
const PROGRAM: &str = "FLAGCACHE_TEST_REDIS_SERVER";

/// The timeout for servers to start and to find each other.
pub(super) const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A `redis-server` on a free port of 127.0.0.1, without persistence. Killed when dropped.
///
/// Methods panic if `redis-server` is not installed, if it does not answer within 30 s, or if a command fails. The
/// environment variable `FLAGCACHE_TEST_REDIS_SERVER` selects another program, such as `valkey-server`.
///
/// ```no_run
/// use flagcache_test_support::RedisServer;
///
/// let mut server = RedisServer::start();
/// server.run::<()>("SET key value");
/// server.hang();          // connections stay open, nothing answers
/// server.resume();
/// server.kill();
/// server.start_again();   // empty, on the same port
/// ```
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: FreePort,
    tls_port: Option<FreePort>,
    /// Reserved for the bus of a cluster.
    _bus_port: Option<FreePort>,
    folder: TempDir,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional options of `redis-server`: `&["--requirepass", "…"]`.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as(None, false, options)
    }

    /// Starts a server with a TLS port beside the plain one, which the test itself uses.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start_with_tls(tls: &ServerTls, options: &[&str]) -> Self {
        Self::start_as(Some(tls), false, options)
    }

    /// Starts a server, optionally with TLS or as a node of a cluster.
    pub(super) fn start_as(tls: Option<&ServerTls>, is_node: bool, options: &[&str]) -> Self {
        let mut last = Vec::new();
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let mut options: Vec<String> =
                options.iter().map(|&option| option.to_owned()).collect();
            // If another program takes a port, the server exits: try again.
            let (port, tls_port, bus_port) = (
                FreePort::find(),
                tls.map(|_| FreePort::find()),
                is_node.then(FreePort::find),
            );
            if let (Some(tls), Some(port)) = (tls, &tls_port) {
                options.extend(["--tls-port".to_owned(), port.number().to_string()]);
                options.extend(tls.arguments());
            }
            if let Some(port) = &bus_port {
                // The default, the port plus 10 000, may be in use.
                options.extend(["--cluster-port".to_owned(), port.number().to_string()]);
            }
            let process = launch(port.number(), &folder, &options);
            let mut server = Self {
                process,
                port,
                tls_port,
                _bus_port: bus_port,
                folder,
                options,
            };
            if server.answers() {
                return server;
            }
            last.clone_from(&server.options);
        }
        panic!("{:?} does not start with {last:?}", program());
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + STARTS_WITHIN;
        while Instant::now() < deadline {
            if self.process.exit().unwrap().is_some() {
                return false;
            }
            let client = redis::Client::open(self.url()).unwrap();
            match client.get_connection_with_timeout(Duration::from_millis(500)) {
                Ok(mut connection) => match redis::cmd("PING").query::<String>(&mut connection) {
                    Ok(_) => return true,
                    // The server requires a password, so it is running.
                    Err(error) if error.code() == Some("NOAUTH") => return true,
                    Err(_) => {}
                },
                Err(error) if error.code() == Some("NOAUTH") => return true,
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?} does not answer within 30 s", program());
    }

    /// The URL of the server: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The TLS port, if the server was started with TLS.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port.as_ref().map(FreePort::number)
    }

    /// The port for clients: the TLS port if it has one.
    pub(super) fn main_port(&self) -> u16 {
        self.tls_port().unwrap_or(self.port())
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> String {
        self.folder.path().join("redis.sock").display().to_string()
    }

    /// Opens a connection for the test.
    pub fn admin(&self) -> redis::Connection {
        self.try_admin()
            .unwrap_or_else(|error| panic!("port {}: {error}", self.port()))
    }

    fn try_admin(&self) -> redis::RedisResult<redis::Connection> {
        let client = redis::Client::open(self.url())?;
        let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(connection)
    }

    /// Runs one command: `server.run::<String>("GET key")`. Arguments are split at spaces.
    pub fn run<T: redis::FromRedisValue>(&self, command: &str) -> T {
        self.run_args(&command.split(' ').collect::<Vec<_>>())
    }

    /// Runs one command whose arguments may contain spaces.
    pub fn run_args<T: redis::FromRedisValue>(&self, args: &[&str]) -> T {
        self.try_run(args)
            .unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Runs one command that may fail, for example because the server is down.
    ///
    /// # Errors
    /// The error of the server or of the connection.
    pub fn try_run<T: redis::FromRedisValue>(&self, args: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(args[0]);
        for arg in &args[1..] {
            command.arg(arg);
        }
        command.query(&mut self.try_admin()?)
    }

    /// Pauses the process (SIGSTOP): connections stay open, nothing answers.
    pub fn hang(&self) {
        self.process.pause().unwrap();
    }

    /// Resumes it (SIGCONT).
    pub fn resume(&self) {
        self.process.resume().unwrap();
    }

    /// Kills it (SIGKILL). Its data is lost.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        self.process = launch(self.port(), &self.folder, &self.options);
        assert!(
            self.answers(),
            "the server did not start again on port {}",
            self.port()
        );
    }
}

fn launch(port: u16, folder: &TempDir, options: &[String]) -> Process {
    let mut command = Command::new(program());
    command
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .args([
            "--daemonize",
            "no",
            "--unixsocket",
            "redis.sock",
            "--enable-debug-command",
            "yes",
        ])
        .args(options)
        .current_dir(folder.path());
    spawn(&mut command)
}

/// Starts a server's process without its output.
pub(super) fn spawn(command: &mut Command) -> Process {
    Process::start_silent(command).unwrap_or_else(|error| {
        panic!(
            "cannot start {:?}: {error}; install redis-server (Debian and Ubuntu: apt-get install redis-server), or name \
             another program in {PROGRAM}",
            program()
        )
    })
}

/// The program for servers and Sentinels.
pub(super) fn program() -> OsString {
    std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into())
}
