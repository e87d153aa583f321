//! Parses the URL of a store, which may name several servers.

use std::fmt;

use url::Url;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the servers of a URL relate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Shape {
    /// One primary.
    Single,
    /// Sentinels that monitor the primary of this name.
    Sentinel {
        /// The name.
        primary: String,
    },
    /// Nodes of a cluster.
    Cluster,
}

/// A parsed URL: the shape, and for each server a URL for the redis crate.
pub(in crate::redis) struct ServerUrl {
    pub(in crate::redis) shape: Shape,
    pub(in crate::redis) servers: Vec<Url>,
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may contain a password.
        f.debug_struct("ServerUrl")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl ServerUrl {
    /// Parses `redis[s][+sentinel|+cluster]://[user:password@]host[:port][,host[:port]…][/…][?…]`.
    pub(in crate::redis) fn parse(text: &str) -> Result<Self, BoxError> {
        let scheme = text
            .split_once(':')
            .map(|(scheme, _)| scheme.to_ascii_lowercase())
            .unwrap_or_default();
        let (plain, kind) = match scheme.split_once('+') {
            Some((plain @ ("redis" | "rediss"), kind @ ("sentinel" | "cluster"))) => (plain, kind),
            _ => {
                return Ok(Self {
                    shape: Shape::Single,
                    servers: vec![Url::parse(text)?],
                });
            }
        };
        let rest = text[scheme.len()..]
            .strip_prefix("://")
            .ok_or("`//` is missing after the scheme")?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or(("", authority), |(user, hosts)| (user, hosts));
        let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
        let (shape, database) = if kind == "sentinel" {
            let (primary, database) = match path.trim_start_matches('/').split_once('/') {
                Some((primary, database)) => (primary, database),
                None => (path.trim_start_matches('/'), ""),
            };
            if primary.is_empty() {
                return Err(
                    "the path must be the name of the primary that the Sentinels watch".into(),
                );
            }
            (
                Shape::Sentinel {
                    primary: primary.to_owned(),
                },
                database,
            )
        } else {
            if !matches!(path.trim_start_matches('/'), "" | "0") {
                return Err("a cluster has no database but 0".into());
            }
            (Shape::Cluster, "")
        };
        let at = if user.is_empty() { "" } else { "@" };
        let default_port = if kind == "sentinel" { 26_379 } else { 6_379 };
        let server = |host: &str| -> Result<Url, BoxError> {
            let mut url = Url::parse(&format!("{plain}://{user}{at}{host}/{database}{query}"))?;
            if url.port().is_none() && url.set_port(Some(default_port)).is_err() {
                return Err("a server has no name".into());
            }
            Ok(url)
        };
        Ok(Self {
            shape,
            servers: hosts.split(',').map(server).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Shape, Vec<String>) {
        let url = ServerUrl::parse(text).unwrap();
        (url.shape, url.servers.iter().map(Url::to_string).collect())
    }

    fn sentinel(primary: &str) -> Shape {
        Shape::Sentinel {
            primary: primary.to_owned(),
        }
    }

    #[test]
    fn each_server_gets_a_url_of_its_own() {
        let servers = [
            "redis://u:p%40@a:1/3?protocol=resp2",
            "redis://u:p%40@[::1]:2/3?protocol=resp2",
        ];
        let url = "redis+sentinel://u:p%40@a:1,[::1]:2/flags/3?protocol=resp2";
        assert_eq!(
            parsed(url),
            (sentinel("flags"), servers.map(str::to_owned).to_vec())
        );
        let servers = ["rediss://a:6379/", "rediss://b:7000/"];
        assert_eq!(
            parsed("REDISS+cluster://a,b:7000"),
            (Shape::Cluster, servers.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn sentinels_have_a_port_of_their_own() {
        assert_eq!(
            parsed("rediss+sentinel://a/x"),
            (sentinel("x"), vec!["rediss://a:26379/".to_owned()])
        );
    }

    #[test]
    fn a_single_server_is_left_as_it_is() {
        for url in [
            "redis://u:p@a:1/3?protocol=resp2",
            "redis+unix:///run/redis.sock?db=2",
        ] {
            assert_eq!(parsed(url), (Shape::Single, vec![url.to_owned()]));
        }
    }

    #[test]
    fn what_names_no_servers_is_refused() {
        for url in [
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:a/x",
            "redis+sentinel:///x",
            "redis+sentinel://a,,b/x",
            "redis+cluster://a:x",
            "redis+cluster://a:1/2",
            "redis+cluster://",
        ] {
            assert!(ServerUrl::parse(url).is_err(), "{url}");
        }
    }
}
