//! Describes why a request got no answer, naming the party at fault.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::endpoint::Endpoint;
use super::proxy::{EnvironmentProxy, Route};
use crate::{FetchError, FetchErrorKind};

/// The client's configuration, as far as error messages depend on it.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) route: Route,
    pub(super) connect_timeout: Duration,
    /// Whether the user gave root certificates of their own.
    pub(super) own_roots: bool,
}

/// The request got no answer.
pub(super) fn no_answer(
    endpoint: &Endpoint,
    connection: &Connection,
    error: reqwest::Error,
) -> FetchError {
    let name = endpoint.name();
    let message = if let Some(fault) = find::<rustls::Error>(&error) {
        tls_fault(name, fault, connection.own_roots)
    } else if !error.is_connect() {
        match find::<hyper::Error>(&error) {
            Some(fault) if fault.is_parse() => {
                format!("{name} sent an answer that is not HTTP/1.1; check the host and port")
            }
            _ => format!("the connection to {name} ended without an answer"),
        }
    } else if let Some(proxy) = connection.route.variable() {
        proxy_fault(name, proxy, &error)
    } else if error.is_timeout() {
        format!(
            "cannot connect to {name} within the connect timeout of {:?}; check the host and the network",
            connection.connect_timeout
        )
    } else {
        format!("cannot connect to {name}; check the host and the network")
    };
    // The error shows the URL, and with it the project key.
    FetchError::new(FetchErrorKind::Connect, message).with_source(error.without_url())
}

/// Whether the server closed the connection without an answer, for example an idle connection while a request was on
/// its way.
pub(super) fn is_unanswered(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    let closed = |error: &io::Error| {
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        )
    };
    error.is_request()
        && !error.is_connect()
        && !error.is_timeout()
        && (find::<hyper::Error>(error)
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || find::<io::Error>(error).is_some_and(closed))
}

fn proxy_fault(name: &str, proxy: &EnvironmentProxy, error: &reqwest::Error) -> String {
    let EnvironmentProxy {
        name: proxy,
        variable,
        ..
    } = proxy;
    // The tunnel's own error type is private.
    let is_tunnel_error =
        |text: &str| chain(error).any(|error| error.to_string() == format!("tunnel error: {text}"));
    if is_tunnel_error("proxy authorization required") {
        needs_credentials(proxy, variable)
    } else if is_tunnel_error("unsuccessful") {
        format!(
            "the proxy {proxy} ({variable}) refuses to connect to {name}; check that it can reach and allows that host"
        )
    } else {
        format!(
            "cannot connect through the proxy {proxy} ({variable}); check that variable and the proxy"
        )
    }
}

pub(super) fn needs_credentials(proxy: &str, variable: &str) -> String {
    format!(
        "the proxy {proxy} ({variable}) asks for credentials (407); set valid ones in {variable}, as in \
         http://user:password@host:port"
    )
}

fn tls_fault(name: &str, fault: &rustls::Error, own_roots: bool) -> String {
    match fault {
        rustls::Error::InvalidCertificate(fault) => {
            format!(
                "the TLS certificate of {name} is not accepted: {}",
                certificate_fault(fault, own_roots)
            )
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => {
            format!(
                "{name} does not offer HTTP/1.1 (by ALPN), the only version that is spoken here; enable it beside HTTP/2"
            )
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            format!(
                "{name} offers no TLS version and cipher that are spoken here (TLS 1.2 and 1.3)"
            )
        }
        rustls::Error::AlertReceived(_) => format!("{name} refuses the TLS connection"),
        rustls::Error::InvalidMessage(_) => {
            format!("{name} does not speak TLS on that port; check the host")
        }
        _ => format!("the TLS connection to {name} failed"),
    }
}

fn certificate_fault(fault: &CertificateError, own_roots: bool) -> &'static str {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it, or set this machine's clock if that is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; set this machine's clock if that is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for other names; use a host that stands in its subjectAltName, or have one issued for this host"
        }
        CertificateError::UnknownIssuer if own_roots => {
            "neither the root certificates that were given nor the system's signed it; give the certificate at the top of \
             its chain, and have the server send those between"
        }
        CertificateError::UnknownIssuer => {
            "its issuer is unknown; give the issuer's root certificate (`root_certificates`, or `SSL_CERT_FILE` on Linux), \
             and have the server send those between"
        }
        CertificateError::Revoked => "it is revoked; have a new one issued",
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => {
            "it cannot be read"
        }
        // The type is that of rustls's own dependency.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "it is a CA certificate (`CaUsedAsEndEntity`), as `openssl req -x509` makes by default; issue the server a \
                 certificate of its own, or make this one with `-addext basicConstraints=critical,CA:FALSE`"
            }
            "UnsupportedCertVersion" => {
                "it is of X.509 version 1, without a subjectAltName; issue one of version 3"
            }
            _ => "see the cause",
        },
        _ => "see the cause",
    }
}

/// The errors of a chain, including an error wrapped by an I/O error, which [`Error::source`] skips.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}
