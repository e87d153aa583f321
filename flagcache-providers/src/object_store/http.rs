//! [`Connector`]: makes the HTTP clients for an object store, with the TLS configuration of flagcache.

use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions, Error};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::BucketConfigError;

/// Makes the HTTP clients of a store: one for the objects, one for the credentials.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) connect_timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let allows_http = allows_http.as_deref() == Some("true");
        let tls = self
            .tls(allows_http)
            .map_err(|error| cannot_connect(error.into()))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // HTTP/2 has no benefit for a few small requests.
            .http1_only()
            // The length of the answer must be that of the object.
            .no_gzip()
            .https_only(!allows_http)
            // Another host must get no token, and the page that a put is sent on to must not pass for an object that was written.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!("flagcache/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| cannot_connect(error.without_url().into()))?;
        Ok(HttpClient::new(client))
    }
}

impl Connector {
    /// Does not use the process-wide crypto provider, which the application may not have installed.
    fn tls(&self, allows_http: bool) -> Result<ClientConfig, rustls::Error> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let mut tls = match Verifier::new_with_extra_roots(self.roots.clone(), provider) {
            Ok(verifier) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth(),
            // The machine has no root certificates, and plain HTTP needs none.
            Err(_) if allows_http => builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
            Err(error) => return Err(error),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

fn cannot_connect(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: "HTTP",
        source,
    }
}

/// The certificates in a PEM file.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BucketConfigError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| BucketConfigError::RootCertificates(error.into()))?;
    if found.is_empty() {
        let error = "it contains no certificate";
        return Err(BucketConfigError::RootCertificates(error.into()));
    }
    Ok(found)
}
