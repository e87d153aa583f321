//! [`SchedulingDelay`]: how long a busy machine delays a program.

use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

/// Measures how long a busy machine delays its programs, so that a test can add the delay to an expected duration.
///
/// While no process waits for a processor or a disk, the delay is zero. It is read from the pressure files of Linux; on
/// a system without them it counts as five seconds.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use flagcache_test_support::SchedulingDelay;
///
/// let (begun, lost) = (Instant::now(), SchedulingDelay::begin());
/// // … an operation that takes at most 100 ms …
/// assert!(begun.elapsed() <= Duration::from_millis(100) + lost.so_far());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SchedulingDelay {
    begun: Option<Duration>,
}

impl SchedulingDelay {
    /// The assumed delay where it cannot be measured.
    const UNKNOWN: Duration = Duration::from_secs(5);

    /// Begins the measurement.
    pub fn begin() -> Self {
        Self { begun: lost() }
    }

    /// The maximum delay of a chain of processes since the begin of the measurement.
    pub fn so_far(&self) -> Duration {
        match (self.begun, lost()) {
            (Some(begun), Some(now)) => now.saturating_sub(begun),
            _ => Self::UNKNOWN,
        }
    }

    /// `took` minus the delay.
    pub fn without(&self, took: Duration) -> Duration {
        took.saturating_sub(self.so_far())
    }
}

/// The delay since the machine started.
fn lost() -> Option<Duration> {
    let pressure = waited("/proc/pressure/cpu")? + waited("/proc/pressure/io")?;
    // It is an average over the processors; the whole delay may have been on one of them.
    let processors = available_parallelism().map_or(1, usize::from) as u32;
    Some(pressure * processors + stolen().unwrap_or_default())
}

/// For how long at least one process has waited: `some avg10=0.00 avg60=0.00 avg300=0.00 total=<µs>`.
fn waited(file: &str) -> Option<Duration> {
    let text = fs::read_to_string(file).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("some ")?.rsplit_once("total="))?
        .1;
    Some(Duration::from_micros(total.trim().parse().ok()?))
}

/// The time that the host gave to other machines: the eighth number of the first line, in hundredths of a second.
fn stolen() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = text
        .lines()
        .next()?
        .split_whitespace()
        .nth(8)?
        .parse()
        .ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_grows() {
        let lost = SchedulingDelay::begin();
        let first = lost.so_far();
        assert!(lost.so_far() >= first);
        assert_eq!(lost.without(Duration::ZERO), Duration::ZERO);
    }
}
