//! Every kind of server by its URL in a registry.

use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::ProviderRegistry;
use flagcache_test_support::{Certificates, RedisCluster, RedisSentinels, RedisServer};

use crate::worker::set;

/// Long timeouts: handshakes without optimisation are slow on a busy machine.
const LONG_TIMEOUTS: &str = "response_timeout=5s&lock_ttl=15s";

fn open(url: &str) -> Box<dyn FlagDefinitionCacheProvider> {
    ProviderRegistry::default()
        .open(url)
        .unwrap_or_else(|error| panic!("{url}: {error:?}"))
}

/// Two workers share what the URL opens. The first releases leadership at the end.
async fn shares(url: &str) {
    let (leader, follower) = (open(url), open(url));
    assert!(
        leader.should_fetch_flag_definitions().await.unwrap(),
        "{url}"
    );
    leader.on_flag_definitions_received(&set(1)).await.unwrap();
    assert!(!follower.should_fetch_flag_definitions().await.unwrap());
    assert_eq!(follower.get_flag_definitions().await.unwrap(), Some(set(1)));
    leader.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_socket() {
    let server = RedisServer::start();
    server.run::<()>("ACL SETUSER app on >s3cret%&# ~* &* +@all");
    for scheme in ["redis+unix", "unix"] {
        server.run::<()>("FLUSHALL");
        let url = format!("{scheme}://{}?service=checkout", server.socket());
        shares(&format!("{url}&{LONG_TIMEOUTS}")).await;
        // In another database the service is another.
        shares(&format!(
            "{url}&db=3&user=app&pass=s3cret%25%26%23&protocol=resp2&{LONG_TIMEOUTS}"
        ))
        .await;
        for database in [0, 3] {
            let copies: Vec<u64> = redis::pipe()
                .cmd("SELECT")
                .arg(database)
                .ignore()
                .cmd("EXISTS")
                .arg("posthog:flags:checkout")
                .query(&mut server.admin())
                .unwrap();
            assert_eq!(copies, [1], "{scheme}, database {database}");
        }
        let refused = open(&format!("{url}&user=app&pass=s3cret"))
            .should_fetch_flag_definitions()
            .await
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("rejects the user or the password"),
            "{refused}"
        );
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
    }
    let gone = open("unix:///no/such.sock?service=checkout")
        .should_fetch_flag_definitions()
        .await
        .unwrap_err();
    assert!(
        gone.to_string()
            .ends_with("at redis+unix:///no/such.sock?db=0: no server listens there"),
        "{gone}"
    );
}

#[tokio::test]
async fn sentinels_and_a_cluster() {
    let watched = RedisSentinels::start_with(1, "", None);
    shares(&format!(
        "{}?service=checkout&{LONG_TIMEOUTS}",
        watched.url(RedisSentinels::PRIMARY)
    ))
    .await;
    shares(&format!(
        "{}/2?service=checkout&{LONG_TIMEOUTS}",
        watched.url(RedisSentinels::PRIMARY)
    ))
    .await;
    let cluster = RedisCluster::start();
    shares(&format!(
        "{}?service={{checkout}}&{LONG_TIMEOUTS}",
        cluster.url(&[0, 1, 2])
    ))
    .await;
}

#[tokio::test]
async fn tls() {
    let certificates = Certificates::make();
    let path = |file: &str| certificates.path(file);
    let options = format!(
        "ca={}&cert={}&key={}&{LONG_TIMEOUTS}",
        path("root.crt"),
        path("client.crt"),
        path("client.key")
    );
    let tls = certificates.server("server").for_known_clients();

    let server = RedisServer::start_with_tls(&tls, &[]);
    shares(&format!(
        "rediss://localhost:{}/1?service=checkout&{options}",
        server.tls_port().unwrap()
    ))
    .await;
    let watched = RedisSentinels::start_with(1, "", Some(&tls));
    shares(&format!(
        "{}?service=checkout&{options}",
        watched.url(RedisSentinels::PRIMARY)
    ))
    .await;
    let cluster = RedisCluster::start_with(&[], Some(&tls));
    shares(&format!(
        "{}?service={{checkout}}&{options}",
        cluster.url(&[0, 1, 2])
    ))
    .await;
}
