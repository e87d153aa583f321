//! A PostgreSQL server of the test's own, and a PgBouncer before it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use flagcache_providers::testing::FreePort;
use tempfile::TempDir;

const INSTALL: &str =
    "install PostgreSQL and PgBouncer (Debian and Ubuntu: apt-get install postgresql pgbouncer)";

/// The programs refuse to run as root.
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

/// Debian keeps the programs away from the path.
fn program(name: &str) -> PathBuf {
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
    let found = folders.iter().rev().map(|folder| folder.join(name));
    let found = found.into_iter().find(|program| program.exists());
    found.unwrap_or_else(|| panic!("there is no `{name}`; {INSTALL}"))
}

/// The files of a server that has not been started yet, shared by the servers that run at the same time: making them takes
/// seconds.
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

pub(crate) struct Postgres {
    child: Child,
    port: FreePort,
    folder: TempDir,
    _template: Arc<TempDir>,
    options: Vec<String>,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more settings: `&["ssl=on"]`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let template = template();
        let folder = folder();
        let copied = command(Path::new("cp"))
            .args(["-r", "--"])
            .args([template.path().join("data"), folder.path().join("data")])
            .status();
        assert!(copied.unwrap().success());
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let port = FreePort::find();
        let child = launch(&folder, port.number(), &options);
        let mut server = Self {
            child,
            port,
            folder,
            _template: template,
            options,
        };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.try_psql("SELECT 1").as_deref() != Some("1") {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "PostgreSQL has ended"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://app@127.0.0.1:{}/postgres?sslmode=disable",
            self.port()
        )
    }

    pub(crate) fn try_psql(&self, sql: &str) -> Option<String> {
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

    pub(crate) fn psql(&self, sql: &str) -> String {
        self.try_psql(sql)
            .unwrap_or_else(|| panic!("PostgreSQL refuses: {sql}"))
    }

    /// The server's own process and those of its connections.
    fn processes(&self) -> Vec<u32> {
        let main = self.child.id();
        let path = format!("/proc/{main}/task/{main}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(main).chain(children).collect()
    }

    fn signal(&self, signal: &str) {
        let processes = self.processes();
        let processes = processes.iter().map(u32::to_string);
        // One that has ended meanwhile is an error of `kill`.
        let _ = Command::new("kill").arg(signal).args(processes).status();
    }

    /// Stops all its processes where they stand: connections stay open, nothing answers.
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        let _ = std::fs::remove_file(self.folder.path().join("data/postmaster.pid"));
        self.child = launch(&self.folder, self.port(), &self.options);
        self.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Without the processes of its connections, which keep its shared memory.
        self.signal("-KILL");
        let _ = self.child.wait();
    }
}

fn launch(folder: &TempDir, port: u16, options: &[String]) -> Child {
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
    command.spawn().unwrap()
}

/// A PgBouncer in transaction mode.
pub(crate) struct Pooler {
    child: Child,
    port: FreePort,
    _folder: TempDir,
}

impl Pooler {
    pub(crate) fn start(server: &Postgres) -> Self {
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
        let child = command(&program("pgbouncer"))
            .arg("-q")
            .arg(&file)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port.number())).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://app@127.0.0.1:{}/postgres?sslmode=disable",
            self.port.number()
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
