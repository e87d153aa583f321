//! Users, passwords and permissions.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flagcache_core::{FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::RedisServer;
use tracing::subscriber::DefaultGuard;

use crate::worker::{DATA, PATCHES, SERVICE, STAGING, Worker, builder, set, sized};

const PASSWORD: &str = "s3cret-pa55";

/// Everything that an error shows, its causes included.
fn shown(error: &ProviderError) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        shown += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    shown
}

async fn refused(builder: RedisStoreBuilder) -> ProviderError {
    let worker = Worker::with(builder.clone());
    let error = worker.decide().await.unwrap_err();
    let all = format!(
        "{} {:?} {:?} {builder:?}",
        shown(&error),
        worker.provider,
        builder.clone().build().unwrap()
    );
    assert!(!all.contains(PASSWORD), "{all}");
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied, "{all}");
    error
}

#[tokio::test]
async fn a_missing_or_wrong_password_is_a_clear_error_and_never_shown() {
    let server = RedisServer::start_with(&["--requirepass", PASSWORD]);
    for protocol in ["resp2", "resp3"] {
        let url = format!("{}?protocol={protocol}", server.url());
        let error = refused(RedisStore::builder(&url, SERVICE)).await;
        assert!(
            error.to_string().contains("requires a password"),
            "{}",
            shown(&error)
        );
        let wrong = RedisStore::builder(&url, SERVICE).password(format!("{PASSWORD}x"));
        let error = refused(wrong).await;
        assert!(
            error
                .to_string()
                .contains("rejects the user or the password"),
            "{}",
            shown(&error)
        );
        let right = Worker::with(RedisStore::builder(&url, SERVICE).password(PASSWORD));
        right.leads().await;
    }
    let in_url = server
        .url()
        .replace("redis://", &format!("redis://:{PASSWORD}@"));
    Worker::with(RedisStore::builder(in_url, SERVICE))
        .leads()
        .await;
}

#[tokio::test]
async fn a_user_without_scripts_gets_an_error_that_says_what_to_grant_and_that_is_enough() {
    let server = RedisServer::start();
    server.run::<()>(&format!(
        "ACL SETUSER app on >{PASSWORD} ~* &* +@all -@scripting"
    ));
    let app = builder(&server).username("app").password(PASSWORD);
    let error = refused(app.clone()).await;
    let message = error.to_string();
    assert!(
        message.contains("lacks the permission for evalsha; grant"),
        "{message}"
    );

    // Nothing but what the message says.
    let grant = message
        .split('`')
        .find(|part| part.starts_with('~'))
        .expect("what to grant")
        .to_owned();
    server.run::<()>(&format!("ACL SETUSER app reset on >{PASSWORD} {grant}"));
    let (leader, follower) = (Worker::with(app.clone()), Worker::with(app));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    follower.quiet().await;
    leader.lead_with(&set(2)).await;
    assert!(follower.noticed(Duration::from_secs(1)).await);
    assert!(leader.leads().await);
    leader.unchanged(&set(2)).await;
    leader.shutdown().await;
    assert!(follower.leads().await);
}

#[tokio::test]
async fn a_user_without_the_keys_or_a_command_gets_an_error_that_says_what_to_grant() {
    let server = RedisServer::start();
    for rules in [
        "~other:* +@all",
        "~* +@all -get",
        "~* +@all -set",
        "~* +@all -hmget",
        "~posthog:flags:checkout +@all",
    ] {
        server.run::<()>(&format!("ACL SETUSER app reset on >{PASSWORD} {rules}"));
        let error = refused(builder(&server).username("app").password(PASSWORD)).await;
        assert!(
            error
                .to_string()
                .contains("grant `~posthog:flags:checkout ~"),
            "{rules}: {}",
            shown(&error)
        );
    }
}

#[tokio::test]
async fn a_user_who_may_not_select_the_database_gets_an_error_that_says_what_to_grant() {
    let server = RedisServer::start();
    server.run::<()>(&format!(
        "ACL SETUSER app reset on >{PASSWORD} ~* &* +@all -select"
    ));
    let two = format!("{}/2", server.url());
    let error = refused(
        RedisStore::builder(two, SERVICE)
            .username("app")
            .password(PASSWORD),
    )
    .await;
    assert!(
        error
            .to_string()
            .contains("lacks the permission for select; grant"),
        "{}",
        shown(&error)
    );
}

#[tokio::test]
async fn a_user_without_channel_permission_sees_changes_at_its_ticks() {
    let server = RedisServer::start();
    server.run::<()>(&format!("ACL SETUSER app reset on >{PASSWORD} ~* +@all"));
    let app = builder(&server).username("app").password(PASSWORD);
    let (leader, follower) = (Worker::with(app.clone()), Worker::with(app));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    leader.shutdown().await;
    assert!(follower.leads().await);
}

#[tokio::test]
async fn b12_83_a_user_without_the_patches_moves_whole_copies_and_is_warned_once() {
    let server = RedisServer::start();
    let rule = |keys: &str| {
        server.run::<()>(&format!(
            "ACL SETUSER app reset on >{PASSWORD} &* +@all {keys}"
        ));
    };
    let three = format!("~{DATA} ~{DATA}:lock ~{DATA}:meta");
    rule(&three);
    let (logs, _guard) = captured_logs();
    let app = builder(&server).username("app").password(PASSWORD);
    let (leader, follower) = (Worker::with(app.clone()), Worker::with(app));
    for (n, warnings) in [(1, 0), (2, 2), (3, 2), (4, 2)] {
        leader.lead_with(&set(n)).await;
        assert_eq!(follower.follow().await, Some(set(n)));
        let logs = logs.lock().unwrap();
        assert_eq!(logs.matches(" WARN ").count(), warnings, "{logs}");
        assert_eq!(
            logs.matches(&format!("grant `~{PATCHES}`")).count(),
            warnings,
            "{logs}"
        );
    }
    assert!(!server.run::<bool>(&format!("EXISTS {PATCHES}")));

    // What is granted is used, and what is taken away again is warned about again.
    rule(&format!("{three} ~{PATCHES}"));
    leader.lead_with(&set(5)).await;
    assert_eq!(follower.follow().await, Some(set(5)));
    assert!(server.run::<bool>(&format!("EXISTS {PATCHES}")));
    rule(&three);
    leader.lead_with(&set(6)).await;
    assert_eq!(follower.follow().await, Some(set(6)));
    assert_eq!(logs.lock().unwrap().matches(" WARN ").count(), 4);
}

#[tokio::test]
async fn a_user_who_may_not_send_pieces_sends_a_large_copy_in_one_call_and_is_warned_once() {
    let server = RedisServer::start();
    let staged = |server: &RedisServer| {
        let stats: String = server.run("INFO commandstats");
        server.run::<()>("CONFIG RESETSTAT");
        stats.contains("cmdstat_rename:calls=1,")
    };
    let keys = format!("~{DATA} ~{DATA}:lock ~{DATA}:meta ~{PATCHES}");
    for rule in [
        format!("{keys} &* +@all"),
        format!("{keys} ~{STAGING} &* +@all -append"),
        format!("{keys} ~{STAGING} &* +@all -rename"),
        format!("{keys} ~{STAGING} &* +@all"),
    ] {
        server.run::<()>(&format!("ACL SETUSER app reset on >{PASSWORD} {rule}"));
        let (logs, _guard) = captured_logs();
        let leader = Worker::with(builder(&server).username("app").password(PASSWORD));
        let may_send_pieces = rule.ends_with("+@all") && rule.contains(STAGING);
        for n in 1..4 {
            let large = sized(n, 3 * 1024 * 1024);
            leader.lead_with(&large).await;
            assert_eq!(Worker::of(&server).follow().await, Some(large), "{rule}");
            assert_eq!(staged(&server), may_send_pieces, "{rule}");
        }
        leader.shutdown().await;
        let logs = logs.lock().unwrap();
        let warned = logs.matches("it cannot be sent in pieces").count();
        assert_eq!(warned, usize::from(!may_send_pieces), "{rule}: {logs}");
    }
}

/// What this thread logs while the guard lives.
fn captured_logs() -> (Arc<Mutex<String>>, DefaultGuard) {
    let logs = Arc::new(Mutex::new(String::new()));
    let writer = Arc::clone(&logs);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines(Arc::clone(&writer)))
        .finish();
    (logs, tracing::subscriber::set_default(subscriber))
}

/// Collects what is logged.
struct Lines(Arc<Mutex<String>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0.lock().unwrap() += &String::from_utf8_lossy(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_worker_that_only_reads_needs_no_permission_to_write() {
    let server = RedisServer::start();
    let reads = "~posthog:flags:checkout* &posthog:flags:checkout:changes +evalsha +script|load +get +getrange +strlen \
                 +hmget +pttl +time +subscribe";
    server.run::<()>(&format!("ACL SETUSER reader on >{PASSWORD} {reads}"));
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;

    let reader = Worker::with(builder(&server).username("reader").password(PASSWORD));
    assert_eq!(reader.read().await.unwrap(), Some(set(1)));
    reader.quiet().await;
    leader.lead_with(&set(2)).await;
    assert!(reader.noticed(Duration::from_secs(5)).await);
    assert_eq!(reader.read().await.unwrap(), Some(set(2)));
    reader.shutdown().await;

    // If it attempts to lead, the error names the missing permission.
    let asking = Worker::with(builder(&server).username("reader").password(PASSWORD));
    let error = asking
        .provider
        .on_flag_definitions_received(&set(3))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    assert_eq!(asking.read().await.unwrap(), Some(set(2)));
}

#[tokio::test]
async fn a_server_whose_scripts_are_disabled_is_a_clear_error() {
    let server = RedisServer::start_with(&["--rename-command", "EVALSHA", ""]);
    let error = refused(builder(&server)).await;
    assert!(
        error
            .to_string()
            .contains("scripts (EVALSHA, SCRIPT LOAD) must not be disabled"),
        "{}",
        shown(&error)
    );
}

#[tokio::test]
async fn a_replaced_password_is_read_for_the_next_connection() {
    let server = RedisServer::start();
    server.run::<()>(&format!("ACL SETUSER app on >{PASSWORD} ~* &* +@all"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    for protocol in ["resp2", "resp3"] {
        let url = format!(
            "{}?protocol={protocol}",
            server.url().replace("redis://", "redis://app@")
        );
        let worker = Worker::with(RedisStore::builder(url, SERVICE).password_file(&file));
        worker.leads().await;

        // The server has the new one before the file: the calls fail, and work once the file is replaced.
        let new = format!("{PASSWORD}-{protocol}");
        server.run::<()>(&format!("ACL SETUSER app resetpass >{new}"));
        server.run::<usize>("CLIENT KILL USER app");
        let error = worker.decide().await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
        assert!(!shown(&error).contains(PASSWORD), "{}", shown(&error));
        std::fs::write(&file, &new).unwrap();
        worker.decide().await.unwrap();

        // A file that cannot be read keeps the last one.
        std::fs::remove_file(&file).unwrap();
        server.run::<usize>("CLIENT KILL USER app");
        worker.decide().await.unwrap();
        std::fs::write(&file, &new).unwrap();
    }
}

#[tokio::test]
async fn credentials_that_are_replaced_while_connecting_cost_no_failed_call() {
    let server = RedisServer::start();
    server.run::<()>(&format!("ACL SETUSER second on >{PASSWORD} ~* &* +@all"));
    // The first user once at the build and once for the connection; then it was replaced.
    let reads = std::sync::atomic::AtomicU32::new(0);
    let credentials = move || {
        let earlier = reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let user = if earlier < 2 { "first" } else { "second" };
        Ok::<_, std::io::Error>((Some(user.to_owned()), PASSWORD.to_owned()))
    };
    let builder = RedisStore::builder(server.url(), SERVICE).credentials_fn(credentials);
    Worker::with(builder).leads().await;
}

#[test]
fn a_password_that_cannot_be_read_at_first_is_an_error_that_names_its_file() {
    let builder = RedisStore::builder("redis://localhost", SERVICE).password_file("/nowhere/key");
    let error = builder.build().unwrap_err();
    assert!(error.to_string().contains("/nowhere/key"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}
