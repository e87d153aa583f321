//! What Redis counts.

use std::collections::HashMap;

use flagcache_test_support::RedisServer;

/// Its counters at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Info(HashMap<String, String>);

impl Info {
    pub(crate) fn of(server: &RedisServer) -> Self {
        let text: String = server.run("INFO all");
        let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
        Self(
            lines
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0
            .get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    /// How often a command succeeded, called by clients and by scripts. The first call of a script fails: the
    /// server does not know it yet.
    pub(crate) fn calls(&self, command: &str) -> f64 {
        let stats = self
            .0
            .get(&format!("cmdstat_{command}"))
            .map_or("", String::as_str);
        let count = |name: &str| {
            let count = stats
                .split(',')
                .find_map(|stat| stat.strip_prefix(name)?.strip_prefix('='));
            count
                .and_then(|count| count.parse::<f64>().ok())
                .unwrap_or_default()
        };
        count("calls") - count("failed_calls")
    }

    /// Processor time of the server in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.number("used_cpu_user") + self.number("used_cpu_sys")
    }

    /// Bytes received and sent.
    pub(crate) fn traffic(&self) -> f64 {
        self.number("total_net_input_bytes") + self.number("total_net_output_bytes")
    }

    /// Its version, with its name.
    pub(crate) fn version(&self) -> String {
        let version = |name: &str| self.0.get(name).cloned();
        match version("valkey_version") {
            Some(valkey) => format!("Valkey {valkey}"),
            None => format!("Redis {}", version("redis_version").unwrap_or_default()),
        }
    }
}
