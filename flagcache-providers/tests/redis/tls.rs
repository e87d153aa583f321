//! `rediss://` with the system's root certificates.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flagcache_core::ProviderErrorKind;
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_providers::testing::{FreePort, RedisServer};

use crate::worker::{SERVICE, Worker, set};

/// Makes a root certificate, and one of the server signed by it.
fn certificates(folder: &Path) {
    let script = r#"
        key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $key -days 2 -subj /CN=root -keyout ca.key -out ca.crt
        openssl req $key -subj /CN=server -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
    "#;
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl is needed: {}", String::from_utf8_lossy(&output.stderr));
}

/// Handshakes without optimisation are slow on a busy machine, and are not what is tested.
fn patient(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url, SERVICE).response_limit(Duration::from_secs(5)).lock_life(Duration::from_secs(30))
}

#[tokio::test]
async fn a_certificate_counts_if_the_system_trusts_it() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Both kinds of port: the plain one is how the server is seen to be up.
    let tls = FreePort::find();
    let (certificate, key) = (path("server.crt"), path("server.key"));
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &tls.number().to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{}", tls.number());

    let error = Worker::with(patient(&url)).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("certificate"), "{cause}");

    // The roots are the process's, so the rest runs in one whose roots hold ours.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::in_a_process_that_trusts", "--ignored"])
        .env("SSL_CERT_FILE", path("ca.crt"))
        .env("FLAGCACHE_TEST_REDIS_URL", &url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[tokio::test]
#[ignore = "run by `a_certificate_counts_if_the_system_trusts_it`, in a process of its own"]
async fn in_a_process_that_trusts() {
    let url = std::env::var("FLAGCACHE_TEST_REDIS_URL").expect("the URL of the server");
    let worker = Worker::with(patient(&url));
    worker.lead_with(&set(1)).await;
}
