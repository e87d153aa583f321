//! A forward proxy. The API's host is 0.0.0.0: Linux reaches this machine by it, and it is not one that goes without a proxy.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::{FreePort, Process, wait_until};
use tempfile::TempDir;

use crate::certificates::Named;
use crate::front::stub;
use crate::nginx::{AMPLE, Nginx};
use crate::worker::{Build, Worker};

struct Proxy {
    _process: Process,
    folder: TempDir,
    port: FreePort,
}

impl Proxy {
    /// One that asks for these credentials.
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let port = FreePort::find();
        let file = folder.path().join("tinyproxy.conf");
        let log = folder.path().join("log");
        let configuration = format!(
            "Port {}\nListen 127.0.0.1\nMaxClients 10\nLogLevel Connect\nLogFile \"{}\"\nBasicAuth user pa.ss\n",
            port.number(),
            log.display()
        );
        std::fs::write(&file, configuration).unwrap();
        let process = Process::start(
            Command::new("tinyproxy")
                .args(["-d", "-c"])
                .arg(&file)
                .stdout(Stdio::null()),
        )
        .unwrap_or_else(|error| panic!("tinyproxy is needed: {error}"));
        wait_until("tinyproxy listens", AMPLE, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).is_ok()
        });
        Self {
            _process: process,
            folder,
            port,
        }
    }

    fn url(&self, credentials: &str) -> String {
        format!("http://{credentials}127.0.0.1:{}", self.port.number())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

fn front(named: &Named, stub: &ApiStub) -> Nginx {
    Nginx::tls_from_files(&named.path("crt"), &named.path("key"), true, &stub.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_71_a_proxy_with_credentials_opens_a_tunnel() {
    let stub = stub(5).await;
    let (named, proxy) = (Named::make("0.0.0.0"), Proxy::start());
    let front = front(&named, &stub);
    let roots = named.path("crt");
    let host = format!("https://0.0.0.0:{}", front.port());
    let url = proxy.url("user:pa%2Ess@");
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let mut worker = Worker::start(
            Build::Default,
            &host,
            &[("SSL_CERT_FILE", &roots), (variable, &url)],
        );
        assert_eq!(worker.refresh(), "ok 5 10", "{variable}");
        assert_eq!(worker.refresh(), "ok 5 11", "{variable}");
    }
    let log = proxy.log();
    assert_eq!(
        log.matches(&format!("CONNECT 0.0.0.0:{}", front.port()))
            .count(),
        3,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_71_no_proxy_excepts_a_host() {
    let stub = stub(5).await;
    let named = Named::make("0.0.0.0");
    let front = front(&named, &stub);
    let roots = named.path("crt");
    let host = format!("https://0.0.0.0:{}", front.port());
    let nowhere = FreePort::find();
    let url = format!("http://127.0.0.1:{}", nowhere.number());
    let variables = [
        ("SSL_CERT_FILE", roots.as_str()),
        ("HTTPS_PROXY", &url),
        ("NO_PROXY", "example.com, 0.0.0.0"),
    ];
    assert_eq!(
        Worker::start(Build::Default, &host, &variables).refresh(),
        "ok 5 10"
    );
    // Without the exception it is the proxy that is to blame.
    let answer = Worker::start(Build::Default, &host, &variables[..2]).refresh();
    let blamed = format!(
        "cannot connect through the proxy 127.0.0.1:{} (HTTPS_PROXY)",
        nowhere.number()
    );
    assert!(answer.contains(&blamed), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_71_a_proxy_that_refuses_is_named_in_the_error() {
    let stub = stub(5).await;
    let (named, proxy) = (Named::make("0.0.0.0"), Proxy::start());
    let front = front(&named, &stub);
    let roots = named.path("crt");
    let host = format!("https://0.0.0.0:{}", front.port());
    let name = format!("the proxy 127.0.0.1:{} (HTTPS_PROXY)", proxy.port.number());
    for credentials in ["", "user:hidden@"] {
        let url = proxy.url(credentials);
        let mut worker = Worker::start(
            Build::Default,
            &host,
            &[("SSL_CERT_FILE", &roots), ("HTTPS_PROXY", &url)],
        );
        let answer = worker.refresh();
        assert!(
            answer.contains(&name) && !answer.contains("hidden"),
            "{answer}"
        );
        // tinyproxy answers wrong credentials with a 401.
        assert!(
            answer.contains("asks for credentials (407)") || !credentials.is_empty(),
            "{answer}"
        );
    }
    let nowhere = FreePort::find();
    let url = proxy.url("user:pa%2Ess@");
    let host = format!("https://0.0.0.0:{}", nowhere.number());
    let mut worker = Worker::start(
        Build::Default,
        &host,
        &[("SSL_CERT_FILE", &roots), ("HTTPS_PROXY", &url)],
    );
    let answer = worker.refresh();
    assert!(
        answer.contains(&format!(
            "{name} refuses to connect to 0.0.0.0:{}",
            nowhere.number()
        )),
        "{answer}"
    );
}

#[test]
fn b9_71_a_proxy_that_cannot_be_used_is_an_error_and_never_bypassed() {
    for (value, expected) in [
        (
            "socks5://user:hidden@127.0.0.1:1080",
            "SOCKS proxies are not supported",
        ),
        (
            "https://user:hidden@127.0.0.1:3128",
            "over TLS are not supported",
        ),
        ("http://user:hid/den@127.0.0.1:3128", "percent-encoded"),
    ] {
        let mut worker =
            Worker::start(Build::Default, "https://0.0.0.0:1", &[("ALL_PROXY", value)]);
        let answer = worker.refresh();
        assert!(
            answer.starts_with("error the proxy in the environment variable ALL_PROXY"),
            "{answer}"
        );
        assert!(
            answer.contains(expected) && !answer.contains("hid"),
            "{answer}"
        );
    }
}
