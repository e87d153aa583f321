//! The TLS configuration of the connections.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresConfigError;

/// A connector that trusts `roots`, or else the root certificates of the system. Does not use the process-wide crypto
/// provider, which the application may not have installed.
pub(super) fn connector(
    mode: SslMode,
    roots: Option<&[u8]>,
) -> Result<MakeRustlsConnect, PostgresConfigError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(PostgresConfigError::Tls)?;
    let builder = match (mode, roots) {
        (_, Some(roots)) => builder.with_root_certificates(store(roots)?),
        // TLS is not used, so the machine needs no root certificates.
        (SslMode::Disable, None) => builder.with_root_certificates(RootCertStore::empty()),
        (_, None) => builder
            .with_platform_verifier()
            .map_err(PostgresConfigError::Tls)?,
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

fn store(pem: &[u8]) -> Result<RootCertStore, PostgresConfigError> {
    let refuse = |error: Box<dyn std::error::Error + Send + Sync>| {
        PostgresConfigError::RootCertificates(error)
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| refuse(error.into()))?;
        store
            .add(certificate)
            .map_err(|error| refuse(error.into()))?;
    }
    if store.is_empty() {
        return Err(refuse("it contains no certificate".into()));
    }
    Ok(store)
}
