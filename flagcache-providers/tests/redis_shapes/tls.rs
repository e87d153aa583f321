//! `rediss`: certificates that count, and those that do not.

use std::net::TcpListener;
use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};

use crate::certificates::Certificates;
use crate::sharing;
use crate::worker::{SERVICE, Worker};
use flagcache_providers::testing::RedisServer;

/// A server with a plain port, which is how it is seen to be up, and a TLS port.
struct TlsServer {
    server: RedisServer,
    port: u16,
}

impl TlsServer {
    fn start(certificates: &Certificates, certificate: &str, clients: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificates.path(&format!("{certificate}.crt")),
            "--tls-key-file",
            &certificates.path(&format!("{certificate}.key")),
            "--tls-ca-cert-file",
            &certificates.path("root.crt"),
            "--tls-auth-clients",
            clients,
        ]);
        Self { server, port }
    }

    /// Handshakes without optimisation are slow on a busy machine, and their speed is not what is tested.
    fn builder(&self) -> RedisStoreBuilder {
        patient(&format!("rediss://localhost:{}", self.port))
    }
}

fn patient(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url, SERVICE).response_limit(Duration::from_secs(5)).lock_life(Duration::from_secs(15))
}

async fn refused(builder: RedisStoreBuilder) -> ProviderError {
    let error = Worker::with(builder).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    error
}

#[track_caller]
fn says(error: &ProviderError, words: &str) {
    assert!(error.to_string().contains(words), "{error}: {:?}", std::error::Error::source(error));
}

#[tokio::test]
async fn a_root_certificate_of_ones_own_counts_and_no_other() {
    let certificates = Certificates::make();
    let tls = TlsServer::start(&certificates, "server", "no");
    let trusting = tls.builder().root_certificates(certificates.pem("root.crt"));
    sharing::works(&trusting, SERVICE, &mut tls.server.admin()).await;
    let both = [certificates.pem("other.crt"), certificates.pem("root.crt")].concat();
    Worker::with(tls.builder().root_certificates(both)).leads().await;
    Worker::with(
        patient(&format!("rediss://localhost:{}?protocol=resp2", tls.port))
            .root_certificates(certificates.pem("root.crt")),
    )
    .leads()
    .await;

    let advice = "its TLS certificate is not accepted; check the host's name in the URL, and give the builder the root";
    says(&refused(tls.builder()).await, advice);
    says(&refused(tls.builder().root_certificates(certificates.pem("other.crt"))).await, advice);
}

#[tokio::test]
async fn a_certificate_for_another_name_does_not_count() {
    let certificates = Certificates::make();
    let tls = TlsServer::start(&certificates, "elsewhere", "no");
    let error = refused(tls.builder().root_certificates(certificates.pem("root.crt"))).await;
    says(&error, "its TLS certificate is not accepted; check the host's name in the URL");
}

#[tokio::test]
async fn a_server_that_demands_a_client_certificate_gets_it() {
    let certificates = Certificates::make();
    let tls = TlsServer::start(&certificates, "server", "yes");
    let builder = tls.builder().root_certificates(certificates.pem("root.crt"));
    let with = |name: &str| {
        let pem = |end: &str| certificates.pem(&format!("{name}.{end}"));
        builder.clone().client_certificate(pem("crt"), pem("key"))
    };
    sharing::works(&with("client"), SERVICE, &mut tls.server.admin()).await;

    let advice = "if it demands a client certificate, check the one given to the builder";
    says(&refused(builder.clone()).await, advice);
    says(&refused(with("stranger")).await, advice);
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_one_that_is_down() {
    let server = RedisServer::start();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let certificates = Certificates::make();
    let error = refused(patient(&url).root_certificates(certificates.pem("root.crt"))).await;
    says(&error, "does not speak TLS on that port");
}
