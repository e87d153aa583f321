//! Networks that fail, in network namespaces of the test's own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use flagcache_test_support::FreePort;

use crate::certificates::Named;
use crate::nginx::Nginx;
use crate::worker::{Build, Worker, flags};

const SERVER: &str = "10.213.0.128";
/// Nearer to the client by its number, so that a resolver gives it first.
const SILENT: &str = "10.213.0.2";

/// Two namespaces and a cable between them.
struct Network {
    client: String,
    server: String,
}

fn ip(arguments: &str) -> bool {
    Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .is_ok_and(|status| status.success())
}

fn must(arguments: &str) {
    assert!(ip(arguments), "ip {arguments}");
}

impl Network {
    fn make(name: &str) -> Self {
        let name = format!("fc{name}{}", std::process::id());
        let (client, server) = (format!("{name}c"), format!("{name}s"));
        must(&format!("netns add {client}"));
        must(&format!("netns add {server}"));
        let network = Self { client, server };
        let Self { client, server } = &network;
        must(&format!(
            "-n {client} link add cable type veth peer name cable netns {server}"
        ));
        must(&format!("-n {client} addr add 10.213.0.1/24 dev cable"));
        must(&format!("-n {server} addr add {SERVER}/24 dev cable"));
        for namespace in [client, server] {
            must(&format!("-n {namespace} link set lo up"));
            must(&format!("-n {namespace} link set cable up"));
        }
        network
    }

    /// The client's packets to this address get lost, without a word.
    fn lose(&self, address: &str) {
        must(&format!(
            "-n {} neigh replace {address} lladdr 02:00:00:00:00:01 nud permanent dev cable",
            self.client
        ));
    }

    /// What the server sends to this port of the client gets lost, without a word.
    fn lose_answers_to(&self, port: &str) {
        must(&format!(
            "-n {} rule add ipproto tcp dport {port} blackhole",
            self.server
        ));
    }

    fn hosts_folder(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.client)
    }

    fn set_hosts(&self, lines: &str) {
        std::fs::create_dir_all(self.hosts_folder()).unwrap();
        std::fs::write(self.hosts_folder().join("hosts"), lines).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.hosts_folder());
        ip(&format!("netns del {}", self.client));
        ip(&format!("netns del {}", self.server));
    }
}

#[test]
#[ignore = "needs root, to make network namespaces"]
fn b9_70_a_host_whose_first_address_does_not_respond_is_reached_at_the_next() {
    let network = Network::make("a");
    network.set_hosts(&format!(
        "127.0.0.1 localhost\n{SILENT} api.test\n{SERVER} api.test\n"
    ));
    network.lose(SILENT);
    let port = FreePort::find();
    let host = format!("http://api.test:{}", port.number());
    let _server = Nginx::fixed(&["ip", "netns", "exec", &network.server], port);
    let mut worker = Worker::start_in(
        &["ip", "netns", "exec", &network.client],
        Build::Default,
        &host,
        &[],
    );
    let begun = Instant::now();
    assert_eq!(flags(&worker.refresh()), 0);
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 1.0, "the silent address was not the first: {took} s");
    assert!(took < 9.0, "{took} s");
}

#[test]
#[ignore = "needs root, to make network namespaces"]
fn b9_70_a_connection_with_a_broken_path_is_replaced_after_one_request() {
    for build in [Build::Default, Build::WithHttp2] {
        let network = Network::make("b");
        let port = FreePort::find();
        let host = format!("https://{SERVER}:{}", port.number());
        let named = Named::make(SERVER);
        let [certificate, key] = ["crt", "key"].map(|kind| named.path(kind));
        let server = Nginx::fixed_tls(
            &["ip", "netns", "exec", &network.server],
            port,
            &certificate,
            &key,
        );
        let below = ["ip", "netns", "exec", &network.client];
        let mut worker = Worker::start_in(&below, build, &host, &[("SSL_CERT_FILE", &certificate)]);
        assert_eq!(flags(&worker.refresh()), 0);
        let client_port = |line: &String| line.split(' ').nth(3).unwrap().to_owned();
        let old = client_port(&server.log()[0]);
        // For good: only another connection is of use.
        network.lose_answers_to(&old);
        let answer = worker.refresh();
        assert!(
            answer.contains("gave no complete answer within the request timeout"),
            "{build:?}: {answer}"
        );
        assert_eq!(flags(&worker.refresh()), 0, "{build:?}");
        let log = server.log();
        assert_ne!(client_port(log.last().unwrap()), old, "{log:?}");
    }
}
