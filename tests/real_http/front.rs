//! TLS fronts: with HTTP/2, without it, and with HTTP/2 only.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use flagcache_providers::testing::{ApiStub, Definitions};
use flagcache_test_support::{Certificates, FreePort, Process, wait_until};

use crate::nginx::{AMPLE, Nginx};
use crate::worker::{Build, Worker, flags};

pub(crate) async fn stub(flags: usize) -> ApiStub {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(Definitions::realistic(flags, 1));
    stub
}

/// Loads through a front: fresh, unchanged, over a closed idle connection, over a reload, changed.
fn serve(build: Build, http2: bool, stub: &ApiStub, certificates: &Certificates) {
    let front = Nginx::tls(certificates, "server", http2, &stub.url());
    let roots = certificates.path("root.crt");
    let mut worker = Worker::start(build, &front.url(), &[("SSL_CERT_FILE", &roots)]);

    stub.set_definitions(Definitions::realistic(5, 1));
    assert_eq!(flags(&worker.refresh()), 5);
    assert_eq!(worker.refresh(), "ok 5 11", "the second answer is a 304");
    // Beyond the front's keep-alive timeout of one second.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(worker.refresh(), "ok 5 12");
    front.reload();
    for _ in 0..5 {
        assert_eq!(flags(&worker.refresh()), 5);
    }
    stub.set_definitions(Definitions::realistic(7, 2));
    assert_eq!(flags(&worker.refresh()), 7);

    let log = front.log();
    assert_eq!(log.len(), 9, "{log:?}");
    assert!(
        log.iter()
            .all(|line| line.starts_with("HTTP/1.1 ") && line.ends_with(" gzip")),
        "{log:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_69_a_default_build_works_with_a_server_that_offers_http2() {
    let stub = stub(5).await;
    tokio::task::block_in_place(|| serve(Build::Default, true, &stub, &Certificates::make()));
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_69_a_default_build_works_with_a_server_without_http2() {
    let stub = stub(5).await;
    tokio::task::block_in_place(|| serve(Build::Default, false, &stub, &Certificates::make()));
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_69_a_build_in_which_another_crate_enables_http2_works_too() {
    let stub = stub(5).await;
    tokio::task::block_in_place(|| serve(Build::WithHttp2, true, &stub, &Certificates::make()));
}

const HTTP2_ONLY: &str = r"
    const [certificate, key, port] = process.argv.slice(1);
    const { readFileSync } = require('node:fs');
    const server = require('node:http2').createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) });
    server.on('stream', (stream) => stream.end('{}'));
    server.listen(Number(port), '127.0.0.1');
";

#[test]
fn b9_69_a_server_that_supports_only_http2_is_a_clear_error() {
    let certificates = Certificates::make();
    let port = FreePort::find();
    let [certificate, key, roots] =
        ["server.crt", "server.key", "root.crt"].map(|file| certificates.path(file));
    let mut command = Command::new("node");
    command
        .args([
            "-e",
            HTTP2_ONLY,
            &certificate,
            &key,
            &port.number().to_string(),
        ])
        .stdout(Stdio::null());
    let _node =
        Process::start(&mut command).unwrap_or_else(|error| panic!("node is needed: {error}"));
    wait_until("node listens", AMPLE, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).is_ok()
    });
    let host = format!("https://127.0.0.1:{}", port.number());
    for build in [Build::Default, Build::WithHttp2] {
        let answer = Worker::start(build, &host, &[("SSL_CERT_FILE", &roots)]).refresh();
        assert!(
            answer.contains("does not offer HTTP/1.1"),
            "{build:?}: {answer}"
        );
    }
}
