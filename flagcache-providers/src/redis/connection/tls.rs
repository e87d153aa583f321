//! TLS: certificates, and the meaning of failed handshakes.

use std::fmt;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretSlice};

/// Certificates in place of, or in addition to, the system's. All in PEM.
#[derive(Clone, Default)]
pub(in crate::redis) struct Tls {
    pub(in crate::redis) roots: Option<Vec<u8>>,
    pub(in crate::redis) client: Option<ClientCertificate>,
}

/// The client certificate and its key.
#[derive(Clone)]
pub(in crate::redis) struct ClientCertificate {
    pub(in crate::redis) chain: Vec<u8>,
    pub(in crate::redis) key: SecretSlice<u8>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Checks that there is a certificate at all: the redis crate ignores text without one.
fn has_certificates(what: &str, pem: &[u8]) -> Result<(), BoxError> {
    /// The start of every DER certificate: a sequence with a length of one or two bytes.
    const DER: [[u8; 2]; 2] = [[0x30, 0x81], [0x30, 0x82]];
    if CertificateDer::pem_slice_iter(pem).next().is_some() {
        return Ok(());
    }
    let has = |words: &str| {
        pem.windows(words.len())
            .any(|window| window == words.as_bytes())
    };
    let problem = if pem.trim_ascii().is_empty() {
        "nothing, or white space"
    } else if DER.iter().any(|der| pem.starts_with(der)) {
        "DER; `openssl x509 -inform der` converts it to PEM"
    } else if has("PRIVATE KEY-----") {
        "a private key"
    } else {
        "text without `-----BEGIN CERTIFICATE-----`"
    };
    Err(format!("the {what} hold no certificate in PEM, but {problem}").into())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("roots", &self.roots.is_some())
            .field("client", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

impl Tls {
    pub(in crate::redis) fn is_default(&self) -> bool {
        self.roots.is_none() && self.client.is_none()
    }

    /// `server` with these certificates. Fails if they cannot be parsed.
    pub(in crate::redis) fn apply(
        &self,
        server: ConnectionInfo,
    ) -> Result<ConnectionInfo, BoxError> {
        if let Some(roots) = &self.roots {
            has_certificates("root certificates", roots)?;
        }
        if let Some(client) = &self.client {
            has_certificates("client certificate", &client.chain)?;
        }
        let client_tls = self.client.as_ref().map(|client| ClientTlsConfig {
            client_cert: client.chain.clone(),
            client_key: client.key.expose_secret().to_vec(),
        });
        let certificates = TlsCertificates {
            client_tls,
            root_cert: self.roots.clone(),
        };
        Ok(Client::build_with_tls(server, certificates)?
            .get_connection_info()
            .clone())
    }
}

/// TLS needs a process-wide crypto provider. If the application has not installed one, installs ring.
pub(in crate::redis) fn install_crypto(address: &ConnectionAddr) {
    if matches!(address, ConnectionAddr::TcpTls { .. })
        && rustls::crypto::CryptoProvider::get_default().is_none()
    {
        // Fails if another thread was first, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// The remedy for a failed handshake, if `error` is one. The redis crate passes rustls's errors on as text only.
pub(in crate::redis) fn explain(error: &RedisError) -> Option<&'static str> {
    let text = error.to_string();
    [
        (
            "UnknownIssuer",
            "its TLS certificate is signed by none of the trusted root certificates; give the builder the one that signed it \
             (`root_certificates`), which then stands in place of the system's",
        ),
        ("certificate expired", "its TLS certificate has expired, or the clock of this machine is wrong"),
        ("certificate not valid yet", "its TLS certificate is not valid yet, or the clock of this machine is wrong"),
        (
            "certificate not valid for name",
            "its TLS certificate is for another name; check the host's name in the URL",
        ),
        (
            "CaUsedAsEndEntity",
            "its TLS certificate is that of a certificate authority, which no server may use; make one for the server, \
             signed by it",
        ),
        (
            "invalid peer certificate",
            "its TLS certificate is not accepted; check the host's name in the URL, and give the builder the root \
             certificate that signed it (`root_certificates`) if the system does not know that one",
        ),
        (
            "fatal alert",
            "it refuses the TLS connection; if it demands a client certificate, check the one given to the builder \
             (`client_certificate`)",
        ),
        ("corrupt message", "it does not speak TLS on that port"),
    ]
    .into_iter()
    .find_map(|(sign, meaning)| text.contains(sign).then_some(meaning))
}
