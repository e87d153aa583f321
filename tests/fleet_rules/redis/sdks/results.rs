//! The measurements of the SDKs, and the table that is printed.

use std::fmt;
use std::time::Duration;

use super::KINDS;
use super::sdk_fleet::name;
use crate::api::Get;

/// One cell of the table: a measurement, and its rank.
pub(super) struct Figure {
    shown: String,
    /// Less is better.
    rank: f64,
}

impl Figure {
    pub(super) fn new(shown: String, rank: f64) -> Self {
        Self { shown, rank }
    }

    pub(super) fn time(took: Duration) -> Self {
        Self::new(seconds(took), took.as_secs_f64())
    }

    /// A time that has a limit.
    pub(super) fn time_within(timeout: Duration, took: Option<Duration>) -> Self {
        took.map_or_else(
            || Self::new(format!("not within {} s", timeout.as_secs()), f64::INFINITY),
            Self::time,
        )
    }

    /// Requests, by what PostHog bills for them.
    pub(super) fn requests(gets: &[Get]) -> Self {
        let units: u32 = gets.iter().map(units).sum();
        Self::new(format!("{} ({units})", gets.len()), units.into())
    }

    pub(super) fn request(get: &Get) -> Self {
        let status = get
            .status
            .map_or("no answer".to_owned(), |status| status.to_string());
        Self::new(status, units(get).into())
    }

    pub(super) fn workers(some: usize, all: usize) -> Self {
        Self::new(format!("{some} of {all}"), some as f64)
    }

    pub(super) fn is_ahead_of(&self, other: &Self) -> bool {
        self.rank < other.rank
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn units(get: &Get) -> u32 {
    match get.status {
        Some(200) => 10,
        Some(304) => 1,
        _ => 0,
    }
}

pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.1 => format!("{:.3} s", seconds),
        seconds if seconds < 10.0 => format!("{:.1} s", seconds),
        seconds => format!("{:.0} s", seconds),
    }
}

/// A row for each measurement, a column for each SDK.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<(&'static str, [Figure; KINDS.len()])>,
}

impl Table {
    /// Adds the rows of a situation; each column has a figure for each.
    pub(super) fn add(&mut self, rows: &[&'static str], columns: [Vec<Figure>; KINDS.len()]) {
        let mut columns = columns.map(Vec::into_iter);
        for row in rows {
            self.rows
                .push((row, columns.each_mut().map(|column| column.next().unwrap())));
        }
    }

    /// The rows in which ours, the first, does not beat each of the others.
    pub(super) fn not_ahead(&self) -> Vec<&'static str> {
        let not_better = self
            .rows
            .iter()
            .filter(|(_, [ours, others @ ..])| !others.iter().all(|it| ours.is_ahead_of(it)));
        not_better.map(|(row, _)| *row).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, python, node] = KINDS.map(name);
        writeln!(
            f,
            "| eight workers, polls of 1 s | {ours} | {python} | {node} |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        self.rows
            .iter()
            .try_for_each(|(row, [ours, python, node])| {
                writeln!(f, "| {row} | {ours} | {python} | {node} |")
            })
    }
}
