//! `rediss://` with the system's root certificates.

use std::process::Command;
use std::time::Duration;

use flagcache_core::ProviderErrorKind;
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{Certificates, RedisServer};

use crate::worker::{SERVICE, Worker, set};

/// Handshakes without optimisation are slow on a busy machine, and are not what is tested.
fn with_long_timeouts(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url, SERVICE)
        .response_timeout(Duration::from_secs(5))
        .lock_ttl(Duration::from_secs(30))
}

#[tokio::test]
async fn a_certificate_counts_if_the_system_trusts_it() {
    let certificates = Certificates::make();
    let server = RedisServer::start_with_tls(&certificates.server("server"), &[]);
    let url = format!("rediss://127.0.0.1:{}", server.tls_port().unwrap());

    let error = Worker::with(with_long_timeouts(&url))
        .decide()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("certificate"), "{cause}");

    // The roots are the process's, so the rest runs in one whose roots hold ours.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::in_a_process_that_trusts", "--ignored"])
        .env("SSL_CERT_FILE", certificates.path("root.crt"))
        .env("FLAGCACHE_TEST_REDIS_URL", &url)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[tokio::test]
#[ignore = "run by `a_certificate_counts_if_the_system_trusts_it`, in a process of its own"]
async fn in_a_process_that_trusts() {
    let url = std::env::var("FLAGCACHE_TEST_REDIS_URL").expect("the URL of the server");
    let worker = Worker::with(with_long_timeouts(&url));
    worker.lead_with(&set(1)).await;
}
