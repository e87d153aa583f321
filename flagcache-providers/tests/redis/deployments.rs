//! Servers as they are deployed: with a timeout for idle connections, without some commands, behind proxies.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheProvider, PollerContextOwner, PollerSchedule, ProviderError,
    ProviderErrorKind,
};
use flagcache_providers::redis::{RedisConfigError, RedisStore};
use flagcache_test_support::{Certificates, RedisServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::worker::{META, SERVICE, Worker, set, sized};

const PROTOCOLS: [&str; 2] = ["resp2", "resp3"];

/// A store's URL for each protocol.
fn urls(server: &RedisServer) -> [String; 2] {
    PROTOCOLS.map(|protocol| format!("{}?protocol={protocol}", server.url()))
}

#[track_caller]
fn sound<T>(result: Result<T, ProviderError>, when: &str) -> T {
    result.unwrap_or_else(|error| panic!("{when}: {error}: {:?}", error.source()))
}

/// Waits until the server has closed every connection that is idle, beside those that listen.
async fn all_idle_closed(server: &RedisServer) {
    let clients = || {
        server
            .run::<String>("CLIENT LIST TYPE normal")
            .lines()
            .filter(|line| !line.contains("cmd=client"))
            .count()
    };
    eventually(
        "idle connections are closed",
        Duration::from_secs(10),
        async || clients() == 0,
    )
    .await;
}

#[tokio::test]
async fn b9_74_an_idle_connection_closed_by_the_server_causes_no_failed_call() {
    for hidden in [false, true] {
        // Without notifications no connection is exempt from the timeout.
        let options: &[&str] = if hidden {
            &["--timeout", "1", "--rename-command", "SUBSCRIBE", ""]
        } else {
            &["--timeout", "1"]
        };
        let server = RedisServer::start_with(options);
        for (protocol, url) in PROTOCOLS.iter().zip(urls(&server)) {
            server.run::<()>("FLUSHALL");
            let store = RedisStore::builder(url, SERVICE)
                .lock_ttl(Duration::from_secs(30))
                .build()
                .unwrap();
            let mut schedule = PollerSchedule::new(Duration::from_secs(600));
            schedule.manual = true;
            let (provider, poller) = (store.provider(), PollerContextOwner::new(schedule));
            provider.on_poller_attached(poller.context());
            let polled = Worker::with(RedisStore::builder(
                format!("{}?protocol={protocol}", server.url()),
                "other",
            ));
            for round in 0..3 {
                if round > 0 && !hidden {
                    all_idle_closed(&server).await;
                } else if round > 0 {
                    tokio::time::sleep(Duration::from_millis(2_500)).await;
                }
                let when = format!("{protocol}, without notifications: {hidden}, round {round}");
                assert!(
                    sound(provider.should_fetch_flag_definitions().await, &when),
                    "{when}"
                );
                sound(
                    provider.on_flag_definitions_received(&set(round)).await,
                    &when,
                );
                sound(polled.decide().await, &when);
                sound(polled.read().await, &when);
            }
            assert_eq!(provider.get_flag_definitions().await.unwrap(), Some(set(2)));
            provider.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn b9_74_the_notifications_go_on_after_an_idle_connection_was_closed() {
    let server = RedisServer::start_with(&["--timeout", "1"]);
    for url in urls(&server) {
        server.run::<()>("FLUSHALL");
        let (leader, follower) = (
            Worker::with(RedisStore::builder(&url, SERVICE)),
            Worker::with(RedisStore::builder(&url, SERVICE)),
        );
        leader.lead_with(&set(1)).await;
        assert_eq!(follower.follow().await, Some(set(1)));
        all_idle_closed(&server).await;
        assert_eq!(follower.follow().await, Some(set(1)));
        follower.quiet().await;
        leader.lead_with(&set(2)).await;
        assert!(follower.noticed(Duration::from_secs(5)).await);
    }
}

/// What was logged while a test ran on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| line.contains("WARN"))
            .map(str::to_owned)
            .collect()
    }
}

/// A leader and a follower whose loads all succeed, and who hand over.
async fn serves(url: &str) {
    let (leader, follower) = (
        Worker::with(RedisStore::builder(url, SERVICE)),
        Worker::with(RedisStore::builder(url, SERVICE)),
    );
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    leader.lead_with(&set(2)).await;
    assert_eq!(follower.follow().await, Some(set(2)));
    leader.unchanged(&set(2)).await;
    leader.shutdown().await;
    assert!(follower.leads().await);
    follower.shutdown().await;
}

#[tokio::test]
async fn b9_74_a_server_without_subscribe_works_without_notifications_and_with_one_warning() {
    let server = RedisServer::start_with(&["--rename-command", "SUBSCRIBE", "HIDDEN"]);
    for url in urls(&server) {
        let (log, _guard) = Log::begin();
        serves(&url).await;
        let warnings = log.warnings();
        // One for each of the two workers.
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|warning| warning.contains("rejects SUBSCRIBE")),
            "{warnings:?}"
        );
        server.run::<()>("FLUSHALL");
    }
}

/// A proxy that closes a connection at a command that it does not know, as some do.
async fn proxy_that_closes_at(command: &'static str, server: &RedisServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut client, mut buffer, mut answer) =
                    (client, vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        read = client.read(&mut buffer) => {
                            let Ok(length @ 1..) = read else { return };
                            let request = &buffer[..length];
                            if request.windows(command.len()).any(|it| it.eq_ignore_ascii_case(command.as_bytes())) {
                                return;
                            }
                            if server.write_all(request).await.is_err() { return; }
                        }
                        read = server.read(&mut answer) => {
                            let Ok(length @ 1..) = read else { return };
                            if client.write_all(&answer[..length]).await.is_err() { return; }
                        }
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn b9_74_a_proxy_that_closes_the_connection_at_an_unknown_command_is_supported() {
    let server = RedisServer::start();
    for command in ["SUBSCRIBE", "HELLO"] {
        let url = proxy_that_closes_at(command, &server).await;
        for protocol in PROTOCOLS {
            serves(&format!("{url}?protocol={protocol}")).await;
            server.run::<()>("FLUSHALL");
        }
    }
}

#[tokio::test]
async fn b9_74_a_server_without_hello_or_client_works() {
    for command in ["HELLO", "CLIENT", "PUBLISH"] {
        let server = RedisServer::start_with(&["--rename-command", command, "HIDDEN"]);
        for url in urls(&server) {
            let (log, _guard) = Log::begin();
            serves(&url).await;
            let warnings = log.warnings();
            if command == "PUBLISH" {
                assert!(
                    warnings
                        .iter()
                        .all(|warning| warning.contains("rejects PUBLISH")),
                    "{warnings:?}"
                );
            } else {
                assert_eq!(warnings, [""; 0], "{command}");
            }
            server.run::<()>("FLUSHALL");
        }
    }
}

#[tokio::test]
async fn b9_74_the_error_names_a_required_command_that_is_missing() {
    for command in ["EVALSHA", "SCRIPT", "HMGET"] {
        let server = RedisServer::start_with(&["--rename-command", command, "HIDDEN"]);
        for url in urls(&server) {
            let error = Worker::with(RedisStore::builder(url, SERVICE))
                .decide()
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
            let expected = format!("does not support {command}, which is needed");
            assert!(
                error.to_string().contains(&expected),
                "{error}: {:?}",
                error.source()
            );
        }
    }
}

/// A server that does not know a command quotes its arguments.
#[tokio::test]
async fn a_password_is_not_shown_by_the_error_of_a_server_without_auth() {
    const PASSWORD: &str = "s3cret-pa55";
    for hidden in ["AUTH", "HELLO"] {
        let server = RedisServer::start_with(&["--rename-command", hidden, "HIDDEN"]);
        for url in urls(&server) {
            let store = RedisStore::builder(url, SERVICE)
                .username("app")
                .password(PASSWORD);
            let Err(error) = Worker::with(store).decide().await else {
                continue;
            };
            let mut shown = format!("{error} {error:?}");
            let mut source = error.source();
            while let Some(cause) = source {
                shown += &format!(" {cause} {cause:?}");
                source = cause.source();
            }
            assert!(!shown.contains(PASSWORD), "{shown}");
        }
    }
}

#[test]
fn b9_74_invalid_certificates_are_refused_at_build() {
    let certificates = Certificates::make();
    let der = || {
        let output = std::process::Command::new("openssl")
            .args(["x509", "-outform", "der", "-in"])
            .arg(certificates.path("root.crt"))
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    };
    for (pem, problem) in [
        (Vec::new(), "nothing"),
        (b" \n".to_vec(), "nothing"),
        (b"ca.crt".to_vec(), "text without"),
        (certificates.pem("server.key"), "a private key"),
        (der(), "DER"),
    ] {
        let builder = || RedisStore::builder("rediss://localhost", SERVICE);
        let roots = builder().root_certificates(pem.clone()).build();
        let client = builder()
            .client_certificate(pem, certificates.pem("server.key"))
            .build();
        for (what, built) in [("root certificates", roots), ("client certificate", client)] {
            let Err(error @ RedisConfigError::Certificates(_)) = built else {
                panic!("{what} with {problem}: {built:?}")
            };
            let source = error.source().unwrap().to_string();
            assert!(
                source.starts_with(&format!(
                    "the {what} hold no certificate in PEM, but {problem}"
                )),
                "{source}"
            );
        }
    }
}

#[tokio::test]
async fn b9_72_a_leader_whose_copy_the_server_refuses_confirms_nothing() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;
    let confirmed = || server.run::<u64>(&format!("HGET {META} confirmed"));
    let before = confirmed();
    server.run::<()>("CONFIG SET proto-max-bulk-len 1048576");
    let large = sized(2, 2 * 1024 * 1024);
    for _ in 0..2 {
        assert!(leader.leads().await);
        leader.publish(&large).await.unwrap_err();
        assert!(leader.leads().await);
        leader
            .fetch_without_update(FetchOutcome::unchanged(&large))
            .await
            .unwrap_err();
    }
    assert_eq!(confirmed(), before, "the old copy was confirmed");
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert!(
        confirmed() > before,
        "the copy that is there may be confirmed"
    );
}
