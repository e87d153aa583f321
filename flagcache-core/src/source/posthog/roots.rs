//! Parses root certificates that the user gives.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject, SectionKind};

use super::error::PostHogApiError;

/// Parses the certificates of a PEM text. Anything else is rejected by name.
pub(super) fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PostHogApiError> {
    let refused = |given| Err(PostHogApiError::RootCertificates(given));
    if pem.trim_ascii().is_empty() {
        return refused("empty");
    }
    let mut certificates = Vec::new();
    let mut has_key = false;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section {
            Ok((SectionKind::Certificate, der)) => certificates.push(CertificateDer::from(der)),
            Ok((kind, _)) => has_key |= is_key(kind),
            Err(pem::Error::NoItemsFound) => {}
            Err(_) => return refused("PEM that is damaged"),
        }
    }
    if certificates.is_empty() {
        return refused(match pem {
            _ if has_key => "a private key",
            // An ASN.1 sequence with a two-byte length, like every certificate.
            [0x30, 0x82, ..] => "DER (`openssl x509 -inform der` converts it)",
            _ => "text without a certificate",
        });
    }
    // The check that rustls makes when it uses them.
    let mut store = RootCertStore::empty();
    if certificates
        .iter()
        .any(|certificate| store.add(certificate.clone()).is_err())
    {
        return refused("a certificate that cannot be read");
    }
    Ok(certificates)
}

fn is_key(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
    )
}
