//! What the server's errors mean to a user, and what to do about them.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// How the server, and the redis crate while it connects, speak of a missing permission without a code of its own.
const NOT_PERMITTED: [&str; 3] =
    ["can't run this command", "can't access at least one of the keys", "has no permissions"];

/// Which server and which service an error is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) endpoint: String,
    pub(super) service: String,
}

impl Place {
    /// The server did not answer in time.
    pub(super) fn silent(&self, doing: &str, limit: Duration) -> ProviderError {
        let message = format!(
            "cannot {doing} for service `{}`: {} did not answer within {limit:?}; it hangs, is unreachable, or the set \
             needs a longer response limit",
            self.service, self.endpoint
        );
        ProviderError::new(ProviderErrorKind::Unavailable, message)
    }

    /// The server, or the way to it, refused. The server's own words stay in the source.
    pub(super) fn refused(&self, doing: &str, error: RedisError) -> ProviderError {
        let (kind, why) = self.explain(&error);
        let message = format!("cannot {doing} for service `{}` at {}: {why}", self.service, self.endpoint);
        ProviderError::new(kind, message).with_source(error)
    }

    fn explain(&self, error: &RedisError) -> (ProviderErrorKind, String) {
        use ProviderErrorKind::{InvalidData, Other, PermissionDenied, Unavailable};
        let detail = error.detail().unwrap_or_default();
        let (kind, why) = match (error.kind(), error.code().unwrap_or_default()) {
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => {
                (PermissionDenied, "the server refuses the user or the password; check both")
            }
            (_, "NOAUTH") => (PermissionDenied, "the server demands a password; give one in the URL or to the builder"),
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => return (PermissionDenied, self.grant(detail)),
            _ if NOT_PERMITTED.iter().any(|words| detail.contains(words)) => {
                return (PermissionDenied, self.grant(detail));
            }
            _ if detail.starts_with("unknown command") => (
                PermissionDenied,
                "the server does not know a command that is needed; scripts (EVALSHA, SCRIPT LOAD) must not be \
                 disabled or renamed",
            ),
            (_, "WRONGTYPE") => return (InvalidData, self.other_type()),
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
                (Unavailable, "it is a read-only replica; connect to the primary")
            }
            (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => {
                (Unavailable, "it is still loading its data; it will answer soon")
            }
            (ErrorKind::Server(ServerErrorKind::MasterDown), _) => {
                (Unavailable, "it is a replica that has lost its primary")
            }
            (_, "OOM") => {
                (Unavailable, "it is out of memory; raise `maxmemory` or let it evict expiring keys (`volatile-lru`)")
            }
            (_, "MISCONF") => (Unavailable, "it refuses writes because it cannot save to disk"),
            (ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::Moved), _) => {
                (Other, "it is a cluster node, which is not supported; use a single primary")
            }
            (ErrorKind::Io, _) if error.is_connection_refusal() => (Unavailable, "no server listens there"),
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

    /// What to grant to an ACL user that may not do what a store does. `detail` may name the missing command.
    fn grant(&self, detail: &str) -> String {
        let missing = detail.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
        let missing =
            missing.map_or_else(|| "a permission".to_owned(), |(command, _)| format!("the permission for {command}"));
        format!(
            "the user lacks {missing}; grant `~posthog:flags:{service}* &posthog:flags:{service}:changes +evalsha \
             +script|load +get +set +del +exists +getrange +strlen +pttl +pexpire +persist +hmget +hset +hdel +time \
             +select +publish +subscribe +ping`",
            service = self.service
        )
    }
}
