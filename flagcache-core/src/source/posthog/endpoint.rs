//! [`Endpoint`]: the address of the API.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::error::PostHogApiError;

/// Where requests go: a validated host, without keys.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    name: String,
}

impl Endpoint {
    /// Parses a host as users write it: with or without a trailing slash or a path. The error never repeats the text,
    /// which may contain a password or a misplaced key.
    pub(super) fn parse(host: &str) -> Result<Self, PostHogApiError> {
        let invalid = |reason| Err(PostHogApiError::InvalidHost(reason));
        let Ok(mut url) = Url::parse(host.trim()) else {
            return invalid("it is no URL; write it as in https://us.i.posthog.com");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return invalid("it must start with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid(
                "it carries a user name or password; the secret key is all that PostHog asks for",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return invalid("it has a query or a fragment; end it after the host or the path");
        }
        if let Some(api) = api_host(&url) {
            tracing::info!(
                host = authority(&url),
                api_host = api,
                "flag definitions: the host is that of the PostHog app; requests go to its API"
            );
            // Cannot fail: both are plain host names.
            let _ = url.set_host(Some(api));
        }
        let path = format!("{}/flags/definitions", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let name = authority(&url);
        Ok(Self { url, name })
    }

    /// The full URL, with the project key in its query: never show it.
    pub(super) fn definitions_url(&self, project_key: &str) -> Url {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("token", project_key)
            .append_key_only("send_cohorts");
        url
    }

    /// Host and port, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Scheme, host and port, as the proxy matcher takes them.
    pub(super) fn origin(&self) -> Result<hyper::Uri, PostHogApiError> {
        let origin = self.url.origin().ascii_serialization();
        origin
            .parse()
            .map_err(|_| PostHogApiError::InvalidHost("its name cannot stand in a request"))
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
            Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
            None => false,
        }
    }
}

/// The API host for the host of the PostHog app, which is often given instead; as in the official SDK.
fn api_host(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https"
        || url.port().is_some()
        || !url.path().trim_end_matches('/').is_empty()
    {
        return None;
    }
    match url.host_str()? {
        "app.posthog.com" | "us.posthog.com" => Some("us.i.posthog.com"),
        "eu.posthog.com" => Some("eu.i.posthog.com"),
        _ => None,
    }
}

/// Host and port as in a URL, without its other parts.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> String {
        Endpoint::parse(host)
            .unwrap()
            .definitions_url("phc_a")
            .into()
    }

    #[test]
    fn b2_33_path_and_query_whatever_the_form_of_the_host() {
        let expected = "https://us.i.posthog.com/flags/definitions?token=phc_a&send_cohorts";
        assert_eq!(url("https://us.i.posthog.com"), expected);
        assert_eq!(url("https://us.i.posthog.com/"), expected);
        assert_eq!(url(" https://US.i.posthog.com:443// \n"), expected);
        assert_eq!(
            url("http://a:8000/ph/"),
            "http://a:8000/ph/flags/definitions?token=phc_a&send_cohorts"
        );
        assert_eq!(
            url("http://[::1]:8000/ph"),
            "http://[::1]:8000/ph/flags/definitions?token=phc_a&send_cohorts"
        );
    }

    #[test]
    fn the_host_of_the_app_is_replaced_with_the_host_of_its_api() {
        for (host, api) in [
            ("https://app.posthog.com", "us.i.posthog.com"),
            ("https://us.posthog.com/", "us.i.posthog.com"),
            (" https://EU.posthog.com// ", "eu.i.posthog.com"),
            ("https://eu.i.posthog.com", "eu.i.posthog.com"),
            ("http://eu.posthog.com", "eu.posthog.com"),
            ("https://eu.posthog.com:8443", "eu.posthog.com:8443"),
            ("https://eu.posthog.com/ph", "eu.posthog.com"),
            ("https://posthog.com", "posthog.com"),
        ] {
            assert_eq!(Endpoint::parse(host).unwrap().name(), api, "{host}");
        }
        assert_eq!(
            url("https://eu.posthog.com"),
            "https://eu.i.posthog.com/flags/definitions?token=phc_a&send_cohorts"
        );
    }

    #[test]
    fn a_project_key_cannot_add_parameters() {
        let endpoint = Endpoint::parse("https://a").unwrap();
        let url = endpoint.definitions_url("phc_a&x=1#y");
        assert_eq!(url.query(), Some("token=phc_a%26x%3D1%23y&send_cohorts"));
    }

    #[test]
    fn unusable_hosts_are_refused_without_repeating_them() {
        let hosts = [
            "",
            "us.i.posthog.com",
            "localhost:8000",
            "ftp://a",
            "https://",
            "https://a?x=phs_secret",
            "https://a/#phs_secret",
            "https://phs_secret@a",
            "https://a:phs_secret@b",
            "phs_secret",
        ];
        for host in hosts {
            let error = Endpoint::parse(host).unwrap_err();
            assert!(
                matches!(error, PostHogApiError::InvalidHost(_)),
                "{host}: {error:?}"
            );
            assert!(
                !format!("{error} {error:?}").contains("phs_secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_show_host_and_port() {
        assert_eq!(
            Endpoint::parse("https://a.example/ph").unwrap().name(),
            "a.example"
        );
        assert_eq!(
            Endpoint::parse("http://[::1]:8000").unwrap().name(),
            "[::1]:8000"
        );
    }

    #[test]
    fn hosts_of_this_machine_are_known() {
        for host in [
            "http://localhost:1",
            "http://127.8.0.1",
            "http://[::1]",
            "http://x.localhost",
        ] {
            assert!(Endpoint::parse(host).unwrap().is_loopback(), "{host}");
        }
        for host in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://[::2]",
        ] {
            assert!(!Endpoint::parse(host).unwrap().is_loopback(), "{host}");
        }
    }
}
