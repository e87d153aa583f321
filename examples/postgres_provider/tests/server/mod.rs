//! Stores on a PostgreSQL server of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache::FlagDefinitionCacheProvider;
use flagcache::testing::conformance::{Case, TestStore};
use flagcache::testing::{Connections, Outage, TcpProxy};
use flagcache_test_support::PostgresServer;
use postgres_provider::TABLE;
use tokio_postgres::{Client, Config, NoTls};

/// Twice the timeout of a call: a busy machine must not end a lease.
pub const LEASE: Duration = Duration::from_secs(2);

/// Where to connect, directly or through a proxy.
fn config(port: u16) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("app")
        .dbname("postgres");
    config.connect_timeout(Duration::from_secs(1));
    config
}

/// Connects the test itself, and makes the table.
async fn prepare(server: &PostgresServer) -> Arc<Client> {
    let (admin, connection) = config(server.port())
        .connect(NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    admin.batch_execute(TABLE).await.expect("the table");
    Arc::new(admin)
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
    pub fn fresh(server: &PostgresServer, admin: &Arc<Client>, make: Make) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let proxy = TcpProxy::start(([127, 0, 0, 1], server.port()).into()).expect("a proxy");
        let service = format!("service-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self {
            admin: Arc::clone(admin),
            config: config(proxy.addr().port()),
            service,
            proxy,
            make,
        }
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
        self.admin
            .execute(sql, &[&self.service, &copy])
            .await
            .expect("damage");
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

/// So many cases at a time: the calls have timeouts of their own, which a busy machine must not exceed.
const AT_ONCE: usize = 6;

/// Runs cases, each with a provider of its own making, and hands the verdict of each to `report`: what the rule says, if it is
/// broken.
pub fn run_each<T: Copy>(
    cases: &[(T, &'static Case)],
    make: impl Fn(T) -> Make,
    mut report: impl FnMut(T, &'static Case, Option<String>),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let server = PostgresServer::start_with(&["max_connections=500"]);
    runtime.block_on(async {
        let admin = prepare(&server).await;
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
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// Reports a test that cannot run without a server: as ignored, in CI as failed.
pub fn missing(test: &str) -> std::process::ExitCode {
    const REASON: &str =
        "PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)";
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        println!("test {test} ... FAILED: {REASON}");
        return std::process::ExitCode::FAILURE;
    }
    println!("test {test} ... ignored, {REASON}");
    std::process::ExitCode::SUCCESS
}
