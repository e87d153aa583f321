//! The lines that a worker and its test exchange.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Distinguishes a worker's reports from the output of the test harness.
const MARKER: char = '@';

/// A worker's report, with its time on the clock that all processes of a machine share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Since the epoch.
    pub(crate) at: Duration,
    #[serde(flatten)]
    pub(crate) event: Event,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// It is prepared, and waits for [`Order::Begin`].
    Prepared,
    /// Its poller runs.
    Started,
    /// It has flags for the first time.
    Ready,
    /// A change was applied.
    Change {
        flags: Option<usize>,
        etag: Option<String>,
        origin: Option<String>,
    },
    /// Its role or its state is another now.
    Status { role: String, state: String },
    /// The answer to [`Order::Count`].
    Counted { loads: u64, requests: u64 },
    /// [`Order::Refresh`] is carried out.
    Refreshed { error: Option<String> },
    /// A worker of another SDK was asked for the value of a flag.
    Evaluated {
        key: String,
        value: serde_json::Value,
    },
    /// It has shut down, and ends.
    ShutDown { error: Option<String> },
}

/// An order on a worker's standard input, one a line. The worker ends with the input, and shuts down at a SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// To a worker whose settings make it wait for that.
    Begin,
    Refresh,
    Count,
}

impl Report {
    pub(crate) fn print(event: Event) {
        let reports = Self { at: now(), event };
        println!("{MARKER}{}", serde_json::to_string(&reports).unwrap());
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let json = line.strip_prefix(MARKER)?;
        Some(serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {line}")))
    }
}

/// Now, on the clock that all processes of a machine share.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}
