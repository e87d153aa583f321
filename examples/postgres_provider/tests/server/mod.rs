//! A PostgreSQL server of the test's own, and stores on it.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use flagcache::FlagDefinitionCacheProvider;
use flagcache::testing::conformance::{Case, TestStore};
use flagcache::testing::{Connections, Outage, TcpProxy};
use postgres_provider::TABLE;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

/// Twice the time limit of a call: a busy machine must not end a lease.
pub const LEASE: Duration = Duration::from_secs(2);

/// A server on a free port of 127.0.0.1, without fsync, killed when dropped.
pub struct Server {
    postgres: Child,
    addr: SocketAddr,
    _folder: TempDir,
}

/// The folder of the server's programs, if they are installed.
pub fn programs() -> Option<PathBuf> {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = on_path.chain(versions.map(|version| version.path().join("bin"))).collect();
    folders.retain(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    folders.pop()
}

impl Server {
    pub fn start(programs: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        // The server refuses to run as root: the package has made a user for it.
        let user = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("a folder of the server's user");
        }
        let data = folder.path().join("data");
        let run = |program: &str, args: &[&str]| {
            let mut command = Command::new(programs.join(program));
            command.args(args).arg("-D").arg(&data).current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };
        let made = run("initdb", &["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]).status().expect("initdb");
        assert!(made.success(), "initdb failed");
        // Free until the server binds it; should another program be faster, the server exits and the test fails.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
        let port = addr.port().to_string();
        let options =
            ["-p", &port, "-h", "127.0.0.1", "-F", "-c", "max_connections=500", "-c", "unix_socket_directories="];
        let postgres = run("postgres", &options).spawn().expect("postgres");
        Self { postgres, addr, _folder: folder }
    }

    pub fn config(&self, addr: SocketAddr) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(addr.port()).user("postgres").dbname("postgres");
        config.connect_timeout(Duration::from_secs(1));
        config
    }

    /// A connection of the test's own, as soon as the server answers.
    pub async fn admin(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.config(self.addr).connect(NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(Instant::now() < deadline, "the server does not answer: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the server, and makes the table.
    pub async fn ready(&self) -> Arc<Client> {
        let admin = self.admin().await;
        admin.batch_execute(TABLE).await.expect("the table");
        Arc::new(admin)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A fast shutdown: the processes of its connections end with it.
        let _ = Command::new("kill").args(["-INT", &self.postgres.id().to_string()]).status();
        let _ = self.postgres.wait();
    }
}

fn id(args: &[&str]) -> u32 {
    let output = Command::new("id").args(args).output().expect("id");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("a numeric id: is there a user `postgres`?")
}

/// Makes a provider of a service.
pub type Make = Box<dyn Fn(Config, &str) -> Arc<dyn FlagDefinitionCacheProvider> + Send + Sync>;

/// A service of its own on the server, behind a proxy of its own.
pub struct Store {
    admin: Arc<Client>,
    config: Config,
    service: String,
    proxy: TcpProxy,
    make: Make,
}

impl Store {
    pub fn fresh(server: &Server, admin: &Arc<Client>, make: Make) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let proxy = TcpProxy::start(server.addr).expect("a proxy");
        let service = format!("service-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { admin: Arc::clone(admin), config: server.config(proxy.addr()), service, proxy, make }
    }
}

#[async_trait]
impl TestStore for Store {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        (self.make)(self.config.clone(), &self.service)
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let copy = copy.as_deref();
        let sql = "UPDATE flag_definitions SET copy = $2, version = version + 1 WHERE service = $1";
        self.admin.execute(sql, &[&self.service, &copy]).await.expect("damage");
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

/// So many cases at a time: the calls have time limits of their own, which a busy machine must not exceed.
const AT_ONCE: usize = 6;

/// Runs cases, each with a provider of its own making, and hands the verdict of each to `report`: what the rule says, if it is
/// broken.
pub fn run_each<T: Copy>(
    cases: &[(T, &'static Case)],
    programs: &Path,
    make: impl Fn(T) -> Make,
    mut report: impl FnMut(T, &'static Case, Option<String>),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let server = Server::start(programs);
    runtime.block_on(async {
        let admin = server.ready().await;
        for some in cases.chunks(AT_ONCE) {
            let running: Vec<_> = some
                .iter()
                .map(|&(of, case)| {
                    let store = Store::fresh(&server, &admin, make(of));
                    tokio::spawn(async move { (case.run)(&store).await })
                })
                .collect();
            for ((of, case), ended) in some.iter().zip(running) {
                report(*of, case, ended.await.err().map(said));
            }
        }
    });
}

fn said(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Reports a test that cannot run without a server: as ignored, in CI as failed.
pub fn missing(test: &str) -> std::process::ExitCode {
    const REASON: &str = "PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)";
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        println!("test {test} ... FAILED: {REASON}");
        return std::process::ExitCode::FAILURE;
    }
    println!("test {test} ... ignored, {REASON}");
    std::process::ExitCode::SUCCESS
}
