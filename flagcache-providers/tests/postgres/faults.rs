//! Servers that are killed, hang, or refuse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flagcache_core::{FetchOutcome, ProviderErrorKind};
use flagcache_providers::PostgresStore;
use flagcache_providers::testing::TcpProxy;

use crate::server::Postgres;
use crate::sets::fetched;
use crate::worker::{SERVICE, Worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_server_that_was_killed_and_started_again_is_used_again() {
    let mut server = Postgres::start();
    let (leader, follower) = (Worker::of(&server.url()), Worker::of(&server.url()));
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await);
    leader.publishes(&data).await.unwrap();
    server.kill();
    let begin = Instant::now();
    let error = follower.tries_to_lead().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{error}");
    assert!(begin.elapsed() < Duration::from_millis(1_500));
    server.start_again();
    // The first call after that finds a server: connections are opened when needed.
    follower.leads().await;
    assert!(follower.reads().await.unwrap().same_content(&data));
    assert!(leader.leads_within(Duration::from_secs(10)).await.is_some() || follower.leads().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_call_to_a_hung_server_ends_at_the_response_timeout_and_later_calls_succeed() {
    let server = Postgres::start();
    let worker = Worker::of(&server.url());
    assert!(worker.leads().await);
    worker
        .publishes(&fetched("beta", "\"1\"", 0))
        .await
        .unwrap();
    server.hang();
    let begin = Instant::now();
    let error = worker.tries_to_lead().await.unwrap_err();
    let took = begin.elapsed();
    server.resume();
    assert_eq!(error.kind(), ProviderErrorKind::Timeout, "{error}");
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert!(worker.leads_within(Duration::from_secs(10)).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_table_that_was_emptied_or_dropped_is_filled_again() {
    let server = Postgres::start();
    let (leader, follower) = (Worker::of(&server.url()), Worker::of(&server.url()));
    let data = fetched("beta", "\"1\"", 0);
    for sql in ["DELETE FROM flagcache", "DROP TABLE flagcache"] {
        assert!(leader.leads().await);
        leader.publishes(&data).await.unwrap();
        server.psql(sql);
        assert!(leader.leads().await);
        leader.hears(FetchOutcome::unchanged(&data)).await.unwrap();
        follower.leads().await;
        assert!(follower.reads().await.unwrap().same_content(&data), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_calls_that_time_out_leave_no_connection_behind() {
    let server = Arc::new(Postgres::start());
    let proxy = TcpProxy::start(([127, 0, 0, 1], server.port()).into()).unwrap();
    let through = proxy.addr().port().to_string();
    let url = server.url().replace(&server.port().to_string(), &through);
    let worker = Worker::of(&url);
    assert!(worker.leads().await);
    let locked = Arc::clone(&server);
    let lock = tokio::task::spawn_blocking(move || {
        locked.try_psql("BEGIN; LOCK TABLE flagcache; SELECT pg_sleep(20)")
    });
    let mut timeouts = 0;
    while timeouts < 3 {
        assert!(!lock.is_finished(), "{timeouts} calls timed out");
        match worker.tries_to_lead().await {
            Err(error) if error.kind() == ProviderErrorKind::Timeout => timeouts += 1,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    // One for calls and one that listens; a renewal may be under way too.
    let deadline = Instant::now() + Duration::from_secs(4);
    while proxy.connections().open > 2 {
        let open = proxy.connections().open;
        assert!(Instant::now() < deadline, "{open} connections are open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server
        .psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'AccessExclusiveLock'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_said_with_its_remedy() {
    let server = Postgres::start();
    server.psql("CREATE ROLE weak LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let url = server.url().replace("app@", "weak@");
    let error = Worker::of(&url).tries_to_lead().await.unwrap_err();
    let chain = chain(&error);
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied, "{chain}");
    assert!(chain.contains("grant the user"), "{chain}");
    assert!(chain.contains("permission denied"), "{chain}");

    let url = server.url().replace("/postgres?", "/absent?");
    let error = Worker::of(&url).tries_to_lead().await.unwrap_err();
    assert!(self::chain(&error).contains("no such database"));

    server.psql("CREATE TABLE other (id int)");
    let store = PostgresStore::builder(server.url(), SERVICE).table("other");
    let error = Worker::over(&store.build().unwrap())
        .tries_to_lead()
        .await
        .unwrap_err();
    assert!(
        self::chain(&error).contains("column"),
        "{}",
        self::chain(&error)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_create_uses_a_table_that_is_there() {
    let server = Postgres::start();
    assert!(Worker::of(&server.url()).leads().await);
    server.psql(
        "DELETE FROM flagcache; CREATE ROLE weak LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT SELECT, INSERT, UPDATE ON flagcache TO weak",
    );
    let worker = Worker::of(&server.url().replace("app@", "weak@"));
    assert!(worker.leads().await);
    worker
        .publishes(&fetched("beta", "\"1\"", 0))
        .await
        .unwrap();
    assert!(worker.leads().await);
}

/// A server with a certificate of its own is refused unless its root is given, and no password is sent before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-days",
            "2",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let mut server = Postgres::start();
    for (from, name) in [(&certificate, "server.crt"), (&key, "server.key")] {
        let to = server.folder().join("data").join(name);
        std::fs::copy(from, &to).unwrap();
        let owner = std::fs::metadata(server.folder()).unwrap();
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        std::os::unix::fs::chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    server.psql("ALTER SYSTEM SET ssl = on");
    server.kill();
    server.start_again();

    let url = server.url().replace("disable", "require");
    let error = Worker::of(&url).tries_to_lead().await.unwrap_err();
    assert!(chain(&error).contains("ertificate"), "{}", chain(&error));
    let trusted = PostgresStore::builder(&url, SERVICE)
        .root_certificates(std::fs::read(&certificate).unwrap());
    let worker = Worker::over(&trusted.build().unwrap());
    assert!(worker.leads().await);
    assert_eq!(
        server.psql("SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'flagcache'"),
        "t"
    );
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
