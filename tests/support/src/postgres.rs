//! [`PostgresServer`] and [`PgBouncer`]: a PostgreSQL server for one test, and a pooler in front of it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::free_port::FreePort;
use crate::process::Process;
use crate::wait::wait_until;

const INSTALL: &str =
    "install PostgreSQL and PgBouncer (Debian and Ubuntu: apt-get install postgresql pgbouncer)";

/// The user and group for the programs if this process runs as root: they refuse to run as root.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = ["postgres", "nobody"];
    let ids = user
        .iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)));
    Some(ids.expect("a user `postgres` or `nobody`"))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if let Some((user, group)) = unprivileged() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("there is no `{name}`; {INSTALL}"))
}

/// Finds a program on the path, and where Debian installs it.
fn find_program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut folders: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.push("/usr/sbin".into());
    let mut programs = folders.iter().rev().map(|folder| folder.join(name));
    programs.find(|program| program.exists())
}

/// The data folder of a server that was never started. The servers that run at the same time share it, because `initdb`
/// takes seconds.
fn template() -> Arc<TempDir> {
    static TEMPLATE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = TEMPLATE.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let folder = folder();
        let made = command(&program("initdb"))
            .args([
                "--username=app",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg(folder.path().join("data"))
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let folder = Arc::new(folder);
        *shared = Arc::downgrade(&folder);
        folder
    })
}

/// A PostgreSQL server on a free port of 127.0.0.1, without fsync. Killed when dropped.
///
/// Its user is `app`, without a password; its database is `postgres`. Methods panic on errors, as those of
/// `RedisServer` do.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    port: FreePort,
    folder: TempDir,
    _template: Arc<TempDir>,
    options: Vec<String>,
}

impl PostgresServer {
    /// Whether the programs of the server are installed.
    pub fn is_installed() -> bool {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| find_program(name).is_some())
    }

    /// Starts a server and waits until it answers.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional settings: `&["ssl=on"]`.
    #[must_use = "the server is killed when it is dropped"]
    pub fn start_with(options: &[&str]) -> Self {
        let template = template();
        let folder = folder();
        let copied = command(Path::new("cp"))
            .args(["-r", "--"])
            .args([template.path().join("data"), folder.path().join("data")])
            .status();
        assert!(copied.unwrap().success());
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let port = FreePort::find();
        let process = launch(&folder, port.number(), &options);
        let mut server = Self {
            process,
            port,
            folder,
            _template: template,
            options,
        };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        wait_until("PostgreSQL answers", Duration::from_secs(60), || {
            let exit = self.process.exit().unwrap();
            assert!(exit.is_none(), "PostgreSQL has ended");
            self.try_psql("SELECT 1").as_deref() == Some("1")
        });
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder that contains its Unix socket and its data folder, `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of the server for a store: `postgres://app@127.0.0.1:<port>/postgres?sslmode=disable`.
    pub fn url(&self) -> String {
        url(self.port())
    }

    /// Runs SQL with `psql`, and returns its output. `None` if that fails, for example because the server is down.
    pub fn try_psql(&self, sql: &str) -> Option<String> {
        let output = Command::new(program("psql"))
            .args([
                "-XAtq",
                "-h",
                "127.0.0.1",
                "-U",
                "app",
                "-d",
                "postgres",
                "-c",
                sql,
            ])
            .arg("-p")
            .arg(self.port().to_string())
            .env("PGSSLMODE", "disable")
            .env("PGCONNECT_TIMEOUT", "5")
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| answer.trim().to_owned())
    }

    /// Runs SQL with `psql`, and returns its output.
    pub fn psql(&self, sql: &str) -> String {
        self.try_psql(sql)
            .unwrap_or_else(|| panic!("PostgreSQL refuses: {sql}"))
    }

    /// The server's own process and those of its connections.
    fn processes(&self) -> Vec<u32> {
        let main = self.process.id();
        let path = format!("/proc/{main}/task/{main}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(main).chain(children).collect()
    }

    fn signal(&self, signal: &str) {
        let processes = self.processes();
        let processes = processes.iter().map(u32::to_string);
        // `kill` fails for a process that has ended in the meantime.
        let _ = Command::new("kill")
            .arg(signal)
            .args(processes)
            .stderr(Stdio::null())
            .status();
    }

    /// Pauses all its processes: connections stay open, nothing answers.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// Resumes all its processes.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Kills all its processes. Committed data stays on disk.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.process.kill().unwrap();
    }

    /// Starts it again on the same port, with its data.
    pub fn start_again(&mut self) {
        let _ = std::fs::remove_file(self.folder.path().join("data/postmaster.pid"));
        self.process = launch(&self.folder, self.port(), &self.options);
        self.wait_until_it_answers();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Also kills the processes of its connections, which keep the shared memory alive.
        self.signal("-KILL");
    }
}

fn launch(folder: &TempDir, port: u16, options: &[String]) -> Process {
    let mut command = command(&program("postgres"));
    command
        .arg("-D")
        .arg(folder.path().join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-F"])
        .arg("-k")
        .arg(folder.path());
    for option in options {
        command.args(["-c", option]);
    }
    Process::start(&mut command).unwrap()
}

fn url(port: u16) -> String {
    format!("postgres://app@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// A PgBouncer in transaction mode, in front of a server. Killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    _process: Process,
    port: FreePort,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts it, and waits until it listens.
    #[must_use = "it is killed when it is dropped"]
    pub fn start(server: &PostgresServer) -> Self {
        let folder = folder();
        let port = FreePort::find();
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=app\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 4\nignore_startup_parameters = extra_float_digits\n",
            server.port(),
            port.number()
        );
        std::fs::write(&file, settings).unwrap();
        let process = Process::start(command(&program("pgbouncer")).arg("-q").arg(&file)).unwrap();
        wait_until("PgBouncer listens", Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", port.number())).is_ok()
        });
        Self {
            _process: process,
            port,
            _folder: folder,
        }
    }

    /// The URL for a store, as [`PostgresServer::url`].
    pub fn url(&self) -> String {
        url(self.port.number())
    }
}
