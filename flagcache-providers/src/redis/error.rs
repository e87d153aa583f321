//! Translates errors of the server to errors with a remedy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::connection::call::Call;
use super::connection::keys::Keys;
use super::connection::tls;

/// The permissions that the user needs on any kind of server.
const COMMANDS: &str = "+evalsha +script|load +get +set +del +exists +append +getrange +strlen +rename +pttl +pexpire +persist \
                        +hmget +hset +hdel +time +publish +subscribe";

/// Messages of the server, and of the redis crate while it connects, about a missing permission, which have no error
/// code.
const NOT_PERMITTED: [&str; 4] = [
    "can't run this command",
    "can't access at least one of the keys",
    "has no permissions",
    // Redis 7.2 and later, and Valkey.
    "ACL failure in script",
];

/// The server that an exchange failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// The server in the URL.
    Primary,
    /// A primary or a node that other servers named.
    Found(String),
    /// A Sentinel.
    Sentinel(String),
}

/// Whether a script failed because its user lacks a permission.
pub(super) fn is_about_permission(words: &str) -> bool {
    words.contains("NOPERM") || NOT_PERMITTED.iter().any(|sign| words.contains(sign))
}

/// A failed exchange.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) party: Party,
    pub(super) error: RedisError,
    /// The command inside the script that failed, if the server did not name it.
    pub(super) command: Option<&'static str>,
}

impl Failure {
    pub(super) fn of(party: Party, error: RedisError) -> Self {
        Self {
            party,
            error,
            command: None,
        }
    }

    pub(super) fn of_call(call: &Call, party: Party, error: RedisError) -> Self {
        Self {
            command: call.command_of(&error),
            ..Self::of(party, error)
        }
    }

    /// How informative the error is, if several servers were tried: an unreachable Sentinel least, then an unreachable
    /// primary, and most the error of a server.
    pub(super) fn weight(&self) -> u8 {
        match (self.error.kind(), &self.party) {
            (ErrorKind::Io, Party::Sentinel(_)) => 0,
            (ErrorKind::Io, _) => 1,
            _ => 2,
        }
    }
}

/// The servers and the service that an error is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) endpoint: String,
    pub(super) service: String,
    /// Permissions for this kind of server, besides [`COMMANDS`].
    pub(super) commands: &'static str,
}

impl Place {
    /// The error of a timeout; `connected` if the server has answered before.
    pub(super) fn silent(&self, doing: &str, limit: Duration, connected: bool) -> ProviderError {
        let why = if connected {
            "it hangs, is unreachable, or the definitions need a longer response timeout"
        } else if self.endpoint.starts_with("rediss") {
            "it hangs, is unreachable, or does not speak TLS on that port"
        } else {
            "it hangs or is unreachable"
        };
        let message = format!(
            "cannot {doing} for service `{}`: {} did not answer within {limit:?}; {why}",
            self.service, self.endpoint
        );
        ProviderError::new(ProviderErrorKind::Unavailable, message)
    }

    /// The error of a failed exchange. The server's own message is only in the source.
    pub(super) fn refused(&self, doing: &str, failure: Failure) -> ProviderError {
        let (kind, why) = self.explain(&failure);
        let which = match &failure.party {
            Party::Primary => String::new(),
            // Another server named it.
            Party::Found(server) => format!(" ({})", server.escape_debug()),
            Party::Sentinel(server) => format!(" (Sentinel {server})"),
        };
        let message = format!(
            "cannot {doing} for service `{}` at {}{which}: {why}",
            self.service, self.endpoint
        );
        ProviderError::new(kind, message).with_source(without_arguments(failure.error))
    }

    fn explain(&self, failure: &Failure) -> (ProviderErrorKind, String) {
        use ProviderErrorKind::{InvalidData, Other, PermissionDenied, Unavailable};
        let error = &failure.error;
        let detail = error.detail().unwrap_or_default();
        let is_sentinel = matches!(failure.party, Party::Sentinel(_));
        let not_permitted = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            || NOT_PERMITTED.iter().any(|words| detail.contains(words));
        let (kind, why) = match (error.kind(), error.code().unwrap_or_default()) {
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS" | "NOAUTH") if is_sentinel => (
                PermissionDenied,
                "the Sentinel rejects the user or the password, which are not those of the primary; give them to the \
                 builder (`sentinel_username`, `sentinel_password`)",
            ),
            _ if is_sentinel && not_permitted => (
                PermissionDenied,
                "the user lacks a permission of the Sentinel; grant `+sentinel|get-master-addr-by-name`",
            ),
            (ErrorKind::MasterNameNotFoundBySentinel, _) => (
                Other,
                "it watches no primary of that name; check the path of the URL",
            ),
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => (
                PermissionDenied,
                "the server rejects the user or the password; check both",
            ),
            (_, "NOAUTH") => (
                PermissionDenied,
                "the server requires a password; give one in the URL or to the builder",
            ),
            _ if not_permitted => return (PermissionDenied, self.grant(detail, failure.command)),
            _ if unknown_command(detail).is_some() => {
                let command = unknown_command(detail)
                    .flatten()
                    .or(failure.command)
                    .unwrap_or("a command");
                let remedy = match command {
                    "EVALSHA" | "SCRIPT" => {
                        "scripts (EVALSHA, SCRIPT LOAD) must not be disabled or renamed"
                    }
                    _ => "it must not be disabled or renamed",
                };
                let message = format!(
                    "the server, or a proxy in front of it, does not support {command}, which is needed; {remedy}"
                );
                return (PermissionDenied, message);
            }
            (_, "WRONGTYPE") => return (InvalidData, self.other_type()),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => match failure.party {
                Party::Primary => (
                    Unavailable,
                    "it is a read-only replica; connect to the primary",
                ),
                _ => (
                    Unavailable,
                    "it is a replica now; the primary will be asked for anew",
                ),
            },
            (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => (
                Unavailable,
                "it is still loading its data; it will answer soon",
            ),
            (ErrorKind::Server(ServerErrorKind::MasterDown), _) => {
                (Unavailable, "it is a replica that has lost its primary")
            }
            (ErrorKind::Server(ServerErrorKind::ClusterDown), _) => (
                Unavailable,
                "the cluster is down, or no node has the keys of this service",
            ),
            (ErrorKind::Server(ServerErrorKind::TryAgain), _) => (
                Unavailable,
                "the keys are being moved to another node; it will answer when they are there",
            ),
            (_, "OOM") => (
                Unavailable,
                "it is out of memory; raise `maxmemory` or let it evict expiring keys (`volatile-lru`)",
            ),
            (_, "MISCONF") => (
                Unavailable,
                "it refuses writes because it cannot save to disk",
            ),
            (
                ErrorKind::Server(
                    ServerErrorKind::CrossSlot | ServerErrorKind::Moved | ServerErrorKind::Ask,
                ),
                _,
            ) => match failure.party {
                Party::Primary => (
                    Other,
                    "it is a node of a cluster; write redis+cluster:// in place of redis://",
                ),
                _ => (
                    Unavailable,
                    "the keys were moved again; the node that has them will be asked for anew",
                ),
            },
            _ if tls::explain(error).is_some() => {
                (Unavailable, tls::explain(error).unwrap_or_default())
            }
            (ErrorKind::Io, _) if error.is_connection_refusal() => {
                (Unavailable, "no server listens there")
            }
            (ErrorKind::Io, _) if io_kind(error) == Some(io::ErrorKind::PermissionDenied) => (
                PermissionDenied,
                "this process may not connect to it; if it is a socket, check the server's `unixsocketperm` and the \
                 permissions of the folders above it",
            ),
            (ErrorKind::Io, _) => (Unavailable, "the connection failed"),
            _ => (Other, "the server answered with an error"),
        };
        (kind, why.to_owned())
    }

    fn other_type(&self) -> String {
        format!(
            "a key that begins with `posthog:flags:{}` holds another type than it should; delete it or choose another \
             service name",
            self.service
        )
    }

    /// The permissions that the user lacks. `detail` names the missing command, unless a script ran it.
    fn grant(&self, detail: &str, command: Option<&str>) -> String {
        let named = detail
            .split_once("run the '")
            .and_then(|(_, rest)| rest.split_once('\''));
        let missing = match named.map(|(command, _)| command).or(command) {
            _ if detail.contains(" key") => "access to its keys".to_owned(),
            Some(command) => format!("the permission for {}", command.to_ascii_lowercase()),
            None => "a permission".to_owned(),
        };
        let Keys {
            data,
            lock,
            meta,
            patches,
            staging,
            channel,
        } = Keys::of(&as_pattern(&self.service));
        let more = self.commands;
        format!(
            "the user lacks {missing}; grant `~{data} ~{lock} ~{meta} ~{patches} ~{staging} &{channel} {COMMANDS}{more}`"
        )
    }
}

/// The unsupported command, if `detail` is that error; the inner `None` if it is not named.
fn unknown_command(detail: &str) -> Option<Option<&str>> {
    if detail.starts_with("Unknown Redis command called from script") {
        return Some(None);
    }
    let named = detail
        .strip_prefix("unknown command ")?
        .trim_start_matches(['\'', '`']);
    let name = named
        .split(['\'', '`', ',', ' '])
        .next()
        .filter(|name| !name.is_empty());
    Some(name)
}

/// The error for an unknown command quotes its arguments, which may include a password.
fn without_arguments(error: RedisError) -> RedisError {
    match error
        .detail()
        .and_then(|detail| detail.split_once(", with args"))
    {
        Some((what, _)) => RedisError::from((
            error.kind(),
            "An error was signalled by the server",
            what.to_owned(),
        )),
        None => error,
    }
}

fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    let source = std::error::Error::source(error)?
        .downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Escapes the name for an ACL rule, in which some characters are patterns.
fn as_pattern(service: &str) -> String {
    service
        .chars()
        .fold(String::new(), |pattern, letter| match letter {
            '*' | '?' | '[' | ']' | '\\' => pattern + "\\" + letter.encode_utf8(&mut [0; 4]),
            _ => pattern + letter.encode_utf8(&mut [0; 4]),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(windows, ignore = "the Redis client has no Unix sockets on Windows")]
    fn a_socket_without_permission_is_distinguished_from_a_missing_one() {
        let place = Place {
            endpoint: "redis+unix:///a?db=0".to_owned(),
            service: "a".to_owned(),
            commands: "",
        };
        let refused = |kind: io::ErrorKind| {
            place.refused(
                "connect",
                Failure::of(Party::Primary, RedisError::from(io::Error::from(kind))),
            )
        };
        let error = refused(io::ErrorKind::PermissionDenied);
        assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
        assert!(error.to_string().contains("`unixsocketperm`"), "{error}");
        assert!(
            refused(io::ErrorKind::NotFound)
                .to_string()
                .ends_with("no server listens there")
        );
        assert!(
            refused(io::ErrorKind::BrokenPipe)
                .to_string()
                .ends_with("the connection failed")
        );
    }

    #[test]
    fn the_rule_names_the_keys_and_nothing_that_resembles_them() {
        let place = Place {
            endpoint: String::new(),
            service: "a*[b]".to_owned(),
            commands: " +role",
        };
        let rule = place.grant("", None);
        let keys = r"`~posthog:flags:a\*\[b\] ~posthog:flags:a\*\[b\]:lock ~posthog:flags:a\*\[b\]:meta ~posthog:flags:a\*\[b\]:patches ~posthog:flags:a\*\[b\]:staging &posthog:flags:a\*\[b\]:changes ";
        assert!(rule.contains(keys), "{rule}");
        assert!(rule.ends_with("+subscribe +role`"), "{rule}");
    }
}
