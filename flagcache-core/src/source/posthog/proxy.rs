//! [`Route`]: the proxy that the environment names.

use std::env::VarError;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, Proxy};
use url::Url;

use super::endpoint::Endpoint;
use super::error::PostHogApiError;

/// How requests reach the API.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// No proxy, whatever the system's settings.
    Direct,
    /// No variable is set: the system's setting, if it has one (macOS, Windows).
    System,
    /// The proxy of an environment variable.
    Variable(EnvironmentProxy),
}

/// A validated proxy, and the variable that names it.
#[derive(Clone)]
pub(super) struct EnvironmentProxy {
    url: Url,
    /// Host and port, for messages.
    pub(super) name: String,
    pub(super) variable: &'static str,
}

impl std::fmt::Debug for EnvironmentProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may contain a password.
        f.debug_struct("EnvironmentProxy")
            .field("name", &self.name)
            .field("variable", &self.variable)
            .finish()
    }
}

impl Route {
    /// The route to `endpoint`, with `lookup` in place of `std::env::var`.
    pub(super) fn of(
        endpoint: &Endpoint,
        lookup: impl Fn(&'static str) -> Result<String, VarError>,
    ) -> Result<Self, PostHogApiError> {
        let variable = |name| match lookup(name) {
            Ok(value) if value.trim().is_empty() => Ok(None),
            Ok(value) => Ok(Some((name, value))),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(PostHogApiError::NotUnicode(name)),
        };
        // In a CGI script, `HTTP_PROXY` is the client's `Proxy` header.
        if endpoint.is_loopback() || variable("REQUEST_METHOD")?.is_some() {
            return Ok(Self::Direct);
        }
        let names = if endpoint.is_https() {
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        } else {
            ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        };
        let mut proxy = None;
        for name in names {
            if proxy.is_none() {
                proxy = variable(name)?;
            }
        }
        let Some((name, value)) = proxy else {
            return Ok(Self::System);
        };
        let no_proxy = match variable("NO_PROXY")? {
            Some((_, hosts)) => hosts,
            None => variable("no_proxy")?
                .map(|(_, hosts)| hosts)
                .unwrap_or_default(),
        };
        // A host that `NO_PROXY` excepts uses no proxy, even if the proxy is malformed.
        let excepted = Matcher::builder().all("http://proxy").no(no_proxy).build();
        if excepted.intercept(&endpoint.origin()?).is_none() {
            return Ok(Self::Direct);
        }
        let url = parse(&value).map_err(|reason| PostHogApiError::Proxy {
            variable: name,
            reason,
        })?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self::Variable(EnvironmentProxy {
            name: format!("{host}:{port}"),
            variable: name,
            url,
        }))
    }

    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, PostHogApiError> {
        Ok(match self {
            Self::Direct => builder.no_proxy(),
            Self::System => builder,
            Self::Variable(proxy) => {
                let refused = |_| PostHogApiError::Proxy {
                    variable: proxy.variable,
                    reason: NO_URL,
                };
                builder
                    .no_proxy()
                    .proxy(Proxy::all(proxy.url.clone()).map_err(refused)?)
            }
        })
    }

    pub(super) fn variable(&self) -> Option<&EnvironmentProxy> {
        match self {
            Self::Variable(proxy) => Some(proxy),
            Self::Direct | Self::System => None,
        }
    }
}

const NO_URL: &str = "it is no URL; write http://host:port or http://user:password@host:port, with `/`, `@`, `#`, `?` and \
                      `:` in the password percent-encoded (`%2F`, `%40`, `%23`, `%3F`, `%3A`)";

/// The proxy's URL, if it is supported. The error never repeats the text, which may contain a password.
fn parse(value: &str) -> Result<Url, &'static str> {
    let value = value.trim();
    // As in curl, a proxy without a scheme is an HTTP proxy.
    let with_scheme = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let url = Url::parse(&with_scheme).map_err(|_| NO_URL)?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(
                "proxies that are themselves reached over TLS are not supported; name it as http://host:port, through \
                        which requests to the API stay encrypted, or call `no_proxy()` on the builder",
            );
        }
        "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return Err(
                "SOCKS proxies are not supported; name an HTTP proxy (http://host:port), unset the variable, or \
                        call `no_proxy()` on the builder",
            );
        }
        _ => return Err("its scheme is not supported; name an HTTP proxy (http://host:port)"),
    }
    // A `/`, `?` or `#` in a password ends the host early: the rest would be cut off.
    let whole = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !whole || with_scheme.matches('@').count() > 1 {
        return Err(NO_URL);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn route(host: &str, variables: &[(&'static str, &str)]) -> Result<Route, PostHogApiError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Route::of(&Endpoint::parse(host).unwrap(), |name| {
            variables
                .get(name)
                .map(|value| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        })
    }

    fn proxy(host: &str, variables: &[(&'static str, &str)]) -> Option<(String, &'static str)> {
        route(host, variables)
            .unwrap()
            .variable()
            .map(|proxy| (proxy.name.clone(), proxy.variable))
    }

    #[test]
    fn b9_71_the_variables_that_are_read() {
        let all = [
            ("ALL_PROXY", "http://all:1"),
            ("HTTP_PROXY", "http://plain:2"),
            ("HTTPS_PROXY", "http://tls:3/"),
        ];
        assert_eq!(
            proxy("https://a", &all),
            Some(("tls:3".to_owned(), "HTTPS_PROXY"))
        );
        assert_eq!(
            proxy("http://a", &all),
            Some(("plain:2".to_owned(), "HTTP_PROXY"))
        );
        assert_eq!(
            proxy("https://a", &all[..2]),
            Some(("all:1".to_owned(), "ALL_PROXY"))
        );
        assert_eq!(
            proxy("https://a", &[("https_proxy", "proxy:3128")]),
            Some(("proxy:3128".to_owned(), "https_proxy"))
        );
        assert_eq!(
            proxy("https://a", &[("HTTPS_PROXY", " "), ("all_proxy", "p:1")]),
            Some(("p:1".to_owned(), "all_proxy"))
        );
        assert_eq!(proxy("https://a", &[]), None);
    }

    #[test]
    fn b9_71_hosts_that_are_asked_directly() {
        for except in ["a.example", ".example", "*", "b, example"] {
            let variables = [("ALL_PROXY", "socks5://p"), ("NO_PROXY", except)];
            assert!(
                matches!(route("https://a.example", &variables), Ok(Route::Direct)),
                "{except}"
            );
        }
        assert!(matches!(
            route(
                "https://10.1.2.3",
                &[("ALL_PROXY", "p"), ("no_proxy", "10.0.0.0/8")]
            ),
            Ok(Route::Direct)
        ));
        assert!(
            proxy(
                "https://b.example",
                &[("ALL_PROXY", "p"), ("NO_PROXY", "a.example")]
            )
            .is_some()
        );
        // On this machine, and in a CGI script.
        assert!(matches!(
            route("http://localhost:1", &[("ALL_PROXY", "socks5://p")]),
            Ok(Route::Direct)
        ));
        assert!(matches!(
            route(
                "https://a",
                &[("ALL_PROXY", "p"), ("REQUEST_METHOD", "GET")]
            ),
            Ok(Route::Direct)
        ));
    }

    #[test]
    fn b9_71_unsupported_and_malformed_proxies_are_refused_by_the_name_of_their_variable() {
        let values = [
            "socks5://user:hidden@p:1080",
            "socks5h://hidden",
            "https://user:hidden@p:3128",
            "ftp://hidden",
            "http://user:hid/den@p:3128",
            "http://user:12/hidden@p:3128",
            "http://user:12#hidden@p:3128",
            "http://user:12?hidden@p:3128",
            "http://user:hid@den@p:3128",
            "http://p:3128/hidden",
            "http://:hidden",
            "http://",
            "p:hidden",
            "hidden host:1",
        ];
        for value in values {
            let error = route("https://a", &[("HTTPS_PROXY", value)]).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains("HTTPS_PROXY")
                    && !shown.contains("hidden")
                    && !shown.contains("hid/den"),
                "{shown}"
            );
        }
        let error = route("https://a", &[("ALL_PROXY", "socks5://p")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ALL_PROXY") && error.contains("SOCKS"),
            "{error}"
        );
        let error = route("https://a", &[("HTTPS_PROXY", "https://p:3128")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("HTTPS_PROXY") && error.contains("over TLS"),
            "{error}"
        );
    }

    #[test]
    fn b9_71_credentials_are_taken_and_never_shown() {
        let route = route(
            "https://a",
            &[("HTTPS_PROXY", "http://user:hid%2Fden@p:3128")],
        )
        .unwrap();
        assert_eq!(route.variable().unwrap().url.password(), Some("hid%2Fden"));
        assert!(!format!("{route:?}").contains("hid"));
        assert!(route.apply(reqwest::Client::builder()).is_ok());
    }
}
