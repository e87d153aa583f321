//! `rediss`: certificates that are accepted, and those that are not, on every kind of server.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{Certificates, RedisCluster, RedisSentinels, RedisServer, eventually};

use crate::worker::{SERVICE, Worker, set};
use crate::{cluster, recovery, sentinels, sharing};

/// The error for a certificate that is not accepted.
const NOT_ACCEPTED: &str = "its TLS certificate is signed by none of the trusted root certificates; give the builder the one";
/// The error for a certificate of another server.
const OTHER_NAME: &str =
    "its TLS certificate is for another name; check the host's name in the URL";
/// The error for a server that refuses the client.
const NOT_LET_IN: &str = "if it demands a client certificate, check the one given to the builder";

/// The address of a server as its certificate has it.
fn url(server: &RedisServer) -> String {
    format!("rediss://localhost:{}", server.tls_port().unwrap())
}

/// Handshakes without optimisation are slow on a busy machine, and their speed is not what is tested.
fn long_timeouts(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder
        .response_timeout(Duration::from_secs(5))
        .lock_ttl(Duration::from_secs(15))
}

fn with_long_timeouts(url: &str) -> RedisStoreBuilder {
    long_timeouts(RedisStore::builder(url, SERVICE))
}

/// With the root certificate of the tests, and the client's certificate of that name.
fn known(
    builder: RedisStoreBuilder,
    certificates: &Certificates,
    client: Option<&str>,
) -> RedisStoreBuilder {
    let builder = long_timeouts(builder).root_certificates(certificates.pem("root.crt"));
    let Some(name) = client else { return builder };
    let pem = |end: &str| certificates.pem(&format!("{name}.{end}"));
    builder.client_certificate(pem("crt"), pem("key"))
}

async fn refused(builder: RedisStoreBuilder) -> ProviderError {
    let error = Worker::with(builder).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    error
}

#[track_caller]
fn assert_contains(error: &ProviderError, words: &str) {
    assert!(
        error.to_string().contains(words),
        "{error}: {:?}",
        std::error::Error::source(error)
    );
}

#[tokio::test]
async fn only_the_given_root_certificate_is_accepted() {
    let certificates = Certificates::make();
    let server = RedisServer::start_with_tls(&certificates.server("server"), &[]);
    let with = |roots: Vec<u8>| with_long_timeouts(&url(&server)).root_certificates(roots);
    sharing::works(
        &with(certificates.pem("root.crt")),
        SERVICE,
        &mut server.admin(),
    )
    .await;
    Worker::with(with(
        [certificates.pem("other.crt"), certificates.pem("root.crt")].concat(),
    ))
    .leads()
    .await;
    let older = with_long_timeouts(&format!("{}?protocol=resp2", url(&server)));
    Worker::with(older.root_certificates(certificates.pem("root.crt")))
        .leads()
        .await;

    assert_contains(
        &refused(with_long_timeouts(&url(&server))).await,
        NOT_ACCEPTED,
    );
    assert_contains(
        &refused(with(certificates.pem("other.crt"))).await,
        NOT_ACCEPTED,
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let certificates = Certificates::make();
    let server = RedisServer::start_with_tls(&certificates.server("elsewhere"), &[]);
    let error =
        refused(with_long_timeouts(&url(&server)).root_certificates(certificates.pem("root.crt")))
            .await;
    assert_contains(&error, OTHER_NAME);
}

#[tokio::test]
async fn a_server_that_demands_a_client_certificate_gets_it() {
    let certificates = Certificates::make();
    let server =
        RedisServer::start_with_tls(&certificates.server("server").for_known_clients(), &[]);
    let with = |client| known(with_long_timeouts(&url(&server)), &certificates, client);
    sharing::works(&with(Some("client")), SERVICE, &mut server.admin()).await;
    assert_contains(&refused(with(None)).await, NOT_LET_IN);
    assert_contains(&refused(with(Some("unrelated"))).await, NOT_LET_IN);
}

#[tokio::test]
async fn a_port_without_tls_is_distinguished_from_one_that_is_down() {
    let server = RedisServer::start();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let certificates = Certificates::make();
    let error =
        refused(with_long_timeouts(&url).root_certificates(certificates.pem("root.crt"))).await;
    assert_contains(&error, "does not speak TLS on that port");
}

#[tokio::test]
async fn sentinels_and_the_primary_that_they_name_are_spoken_to_with_tls() {
    let certificates = Certificates::make();
    let tls = certificates.server("server").for_known_clients();
    let mut watched = RedisSentinels::start_with(3, "", Some(&tls));
    let with = |client| known(sentinels::builder(&watched), &certificates, client);
    sharing::works(&with(Some("client")), SERVICE, &mut watched.primary.admin()).await;
    // The store made the connection: the primary's plain port has had no client but the test itself.
    let worker = Worker::with(with(Some("client")));
    assert!(worker.leads().await);
    let clients = watched.primary.run::<String>("CLIENT LIST");
    let ours: Vec<_> = clients
        .lines()
        .filter(|line| line.contains("sub=1"))
        .collect();
    let port = format!("laddr=127.0.0.1:{} ", watched.primary.tls_port().unwrap());
    assert!(
        !ours.is_empty() && ours.iter().all(|line| line.contains(&port)),
        "{clients}"
    );

    for (builder, words) in [
        (with(None), NOT_LET_IN),
        (with(Some("unrelated")), NOT_LET_IN),
        (
            with(Some("client")).root_certificates(certificates.pem("other.crt")),
            NOT_ACCEPTED,
        ),
    ] {
        let error = refused(builder).await;
        assert_contains(&error, words);
        assert_contains(&error, "(Sentinel 127.0.0.1:");
    }
    let plain = watched
        .url(RedisSentinels::PRIMARY)
        .replace("rediss", "redis");
    let error = refused(with_long_timeouts(&plain)).await;
    assert_contains(&error, "(Sentinel 127.0.0.1:");

    // Another primary is another handshake.
    worker.publish(&set(1)).await.unwrap();
    eventually("the replica has it", Duration::from_secs(5), async || {
        watched
            .replica
            .run::<u8>(&format!("EXISTS {}", crate::worker::DATA))
            == 1
    })
    .await;
    let follower = Worker::with(with(Some("client")));
    assert_eq!(follower.follow().await, Some(set(1)));
    watched.primary.kill();
    let recovery = recovery::of(&worker, &follower, &set(1), std::time::Instant::now()).await;
    println!("Sentinel with TLS: {recovery}");
    sharing::changes_travel(&worker, &follower, 2).await;
}

#[tokio::test]
async fn every_node_of_a_cluster_is_spoken_to_with_tls() {
    let certificates = Certificates::make();
    let nodes = RedisCluster::start_with(
        &[],
        Some(&certificates.server("server").for_known_clients()),
    );
    let owner = nodes.owner(cluster::DATA);
    let (next, last) = ((owner + 1) % 3, (owner + 2) % 3);
    let with =
        |client, seeds: &[usize]| known(cluster::builder(&nodes, seeds), &certificates, client);
    sharing::works(
        &with(Some("client"), &[last]),
        cluster::SERVICE,
        &mut nodes.nodes[owner].admin(),
    )
    .await;

    let (leader, follower) = (
        Worker::with(with(Some("client"), &[next])),
        Worker::with(with(Some("client"), &[last])),
    );
    for n in [0, 1] {
        leader.lead_with(&set(n)).await;
        assert_eq!(follower.follow().await, Some(set(n)));
    }
    let slot = nodes.begin_move(cluster::DATA, owner, next);
    for suffix in [":lock", "", ":meta", ":patches"] {
        slot.key(&format!("{}{suffix}", cluster::DATA));
    }
    // By a connection for this one exchange.
    leader.lead_with(&set(2)).await;
    slot.end();
    sharing::changes_travel(&leader, &follower, 3).await;

    for (builder, words) in [
        (with(None, &[last]), NOT_LET_IN),
        (with(Some("unrelated"), &[last]), NOT_LET_IN),
        (
            with(Some("client"), &[last]).root_certificates(certificates.pem("other.crt")),
            NOT_ACCEPTED,
        ),
    ] {
        assert_contains(&refused(builder).await, words);
    }
}

#[tokio::test]
async fn nodes_that_are_known_by_name_show_certificates_for_that() {
    let certificates = Certificates::make();
    // Their certificates name no address, so a node that were asked for by its address would be refused.
    let by_name = [
        "--cluster-announce-hostname",
        "localhost",
        "--cluster-preferred-endpoint-type",
        "hostname",
    ];
    let nodes = RedisCluster::start_with(&by_name, Some(&certificates.server("named")));
    let next = (nodes.owner(cluster::DATA) + 1) % 3;
    let by_address = known(cluster::builder(&nodes, &[next]), &certificates, None);
    assert_contains(&refused(by_address).await, OTHER_NAME);
    let url = nodes.url(&[next]).replace("127.0.0.1", "localhost");
    let builder = known(
        RedisStore::builder(url, cluster::SERVICE),
        &certificates,
        None,
    );
    eventually(
        "the nodes know each other's names",
        Duration::from_secs(10),
        async || Worker::with(builder.clone()).decide().await.is_ok(),
    )
    .await;
}
