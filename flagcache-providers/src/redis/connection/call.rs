//! [`Call`]: one command, and sending it.

use std::sync::OnceLock;

use redis::aio::MultiplexedConnection;
use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, ToRedisArgs,
};
use sha1_smol::Sha1;

/// A script. Servers identify it by its hash once it is loaded.
#[derive(Debug)]
pub(in crate::redis) struct Lua {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Lua {
    pub(in crate::redis) const fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: OnceLock::new(),
        }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| Sha1::from(self.text).hexdigest())
    }

    /// The command that a line of the script runs; each of our lines runs at most one.
    fn command_in(&self, line: usize) -> Option<&'static str> {
        let line = self.text.lines().nth(line.checked_sub(1)?)?;
        let (_, call) = line.split_once("call('")?;
        call.split_once('\'').map(|(command, _)| command)
    }
}

/// One command: a script, or a plain command.
///
/// Not [`redis::ScriptInvocation`], which copies its arguments once more: the copy of the definitions is one of them.
pub(in crate::redis) struct Call {
    command: Cmd,
    lua: Option<&'static Lua>,
    /// Whether running it twice has the same effect as running it once.
    repeatable: bool,
}

impl Call {
    /// Runs `lua`.
    pub(in crate::redis) fn script(lua: &'static Lua, keys: &[&str]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(lua.hash()).arg(keys.len()).arg(keys);
        // Each of our scripts is: attempts and writes carry a token, and repeating them changes nothing.
        Self {
            command,
            lua: Some(lua),
            repeatable: true,
        }
    }

    /// Reads a key.
    pub(in crate::redis) fn get(key: &str) -> Self {
        Self::repeatable("GET").arg(key)
    }

    /// The length of a key's value; 0 if the key does not exist.
    pub(in crate::redis) fn length(key: &str) -> Self {
        Self::repeatable("STRLEN").arg(key)
    }

    /// Reads a range of a key's value, both ends included.
    pub(in crate::redis) fn range(key: &str, first: u64, last: u64) -> Self {
        Self::repeatable("GETRANGE").arg(key).arg(first).arg(last)
    }

    /// Sets a key to a value, with a TTL in milliseconds.
    pub(in crate::redis) fn set(key: &str, value: &[u8], ttl: u32) -> Self {
        let call = Self::repeatable("SET").arg(key).arg(value);
        call.arg("PX").arg(ttl)
    }

    /// Sets the TTL of a key in milliseconds.
    pub(in crate::redis) fn expire(key: &str, ttl: u32) -> Self {
        Self::repeatable("PEXPIRE").arg(key).arg(ttl)
    }

    /// Appends to a key's value, and returns the new length.
    pub(in crate::redis) fn append(key: &str, value: &[u8]) -> Self {
        Self::command("APPEND", false).arg(key).arg(value)
    }

    fn repeatable(name: &str) -> Self {
        Self::command(name, true)
    }

    fn command(name: &str, repeatable: bool) -> Self {
        Self {
            command: redis::cmd(name),
            lua: None,
            repeatable,
        }
    }

    /// Runs any other command.
    #[cfg(feature = "testing")]
    pub(in crate::redis) fn plain(command: &str) -> Self {
        Self::command(command, false)
    }

    pub(in crate::redis) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    pub(in crate::redis) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Sends it, and loads the script if the server does not know it. With `asking`, a node of a cluster answers for
    /// keys that are still being moved to it.
    pub(in crate::redis) async fn send<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<T> {
        let result = self.send_once(connection, asking).await;
        match (self.lua, &result) {
            (Some(lua), Err(error))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                redis::cmd("SCRIPT")
                    .arg("LOAD")
                    .arg(lua.text)
                    .exec_async(connection)
                    .await?;
                self.send_once(connection, asking).await
            }
            _ => result,
        }
    }

    async fn send_once<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<T> {
        if asking {
            redis::cmd("ASKING").exec_async(connection).await?;
        }
        self.command.query_async(connection).await
    }

    /// The command inside the script that `error` is about; before version 7.2, servers report only its line.
    pub(in crate::redis) fn command_of(&self, error: &RedisError) -> Option<&'static str> {
        let (_, line) = error.detail()?.rsplit_once("@user_script:")?;
        let digits = line
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(line.len());
        self.lua?.command_in(line[..digits].parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_states_its_command() {
        let lua = Lua::new(
            "local a = 1\nredis.call('SET', KEYS[1], a)\nreturn redis.pcall('PUBLISH', 'a', 'b')",
        );
        assert_eq!(
            [1, 2, 3, 4].map(|line| lua.command_in(line)),
            [None, Some("SET"), Some("PUBLISH"), None]
        );
        assert_eq!(lua.command_in(0), None);
    }

    #[test]
    fn no_line_of_our_scripts_runs_two_commands() {
        for text in [
            include_str!("../scripts/keep.lua"),
            include_str!("../scripts/patches.lua"),
            include_str!("../scripts/publish.lua"),
            include_str!("../scripts/release.lua"),
            include_str!("../scripts/renew.lua"),
            include_str!("../scripts/request_refresh.lua"),
            include_str!("../scripts/tick.lua"),
        ] {
            for line in text.lines() {
                assert!(line.matches("call('").count() <= 1, "{line}");
            }
        }
    }
}
