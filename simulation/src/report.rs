//! The tables, as Markdown.

use std::time::Duration;

use crate::plan::Plan;
use crate::run::Figures;

/// Rows of cells under headings; the first column is aligned to the left.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![heads.iter().map(|&head| head.to_owned()).collect()],
        }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn print(&self) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(column, cell)| match column {
                    0 => format!("{cell:<width$}", width = width(column)),
                    _ => format!("{cell:>width$}", width = width(column)),
                })
                .collect();
            println!("| {} |", cells.join(" | "));
            if index == 0 {
                let rules: Vec<String> = (0..row.len())
                    .map(|column| match column {
                        0 => "-".repeat(width(column)),
                        _ => format!("{}:", "-".repeat(width(column).max(2) - 1)),
                    })
                    .collect();
                println!("| {} |", rules.join(" | "));
            }
        }
        println!();
    }
}

/// Prints all tables.
pub(crate) fn tables(all: &[Figures]) {
    cost(all);
    age(all);
    violations(all);
}

/// The costs of the fleets.
fn cost(all: &[Figures]) {
    println!("What it costs\n");
    let mut table = Table::new(&[
        "workers",
        "a change transfers",
        "poll interval, jitter",
        "simulated",
        "requests",
        "of followers",
        "most in 1 s",
        "units",
        "bound",
        "GB from Redis",
        "Redis's thread",
        "its memory at the peak",
        "violations",
    ]);
    for figures in all {
        let load = &figures.redis;
        table.row([
            name(figures),
            moved(figures),
            intervals(figures),
            duration(figures.simulated),
            figures.requests.to_string(),
            figures.requests_of_followers.to_string(),
            figures.most_requests_in_a_second.to_string(),
            figures.units.to_string(),
            figures.bound.to_string(),
            format!("{:.2}", load.bytes as f64 / 1e9),
            format!(
                "{:.1} %",
                100.0 * load.busy.as_secs_f64() / figures.simulated.as_secs_f64()
            ),
            format!("{:.0} MB", load.memory as f64 / 1e6),
            figures.count().to_string(),
        ]);
    }
    table.print();
}

/// The ages of the workers' flags.
fn age(all: &[Figures]) {
    println!("How old flags were\n");
    let mut table = Table::new(&[
        "workers",
        "a change transfers",
        "poll interval, jitter",
        "changes",
        "age, median",
        "99 %",
        "worst",
        "publish to the last worker, median",
        "worst",
        "failed calls",
        "longest wait for Redis",
    ]);
    for figures in all {
        let age = |percent| {
            millis(percentile(&figures.delays, percent).map(|it| Duration::from_millis(it.into())))
        };
        let last = |percent| millis(percentile(&figures.last, percent));
        table.row([
            name(figures),
            moved(figures),
            intervals(figures),
            figures.changes.to_string(),
            age(50),
            age(99),
            age(100),
            last(50),
            last(100),
            figures.failed_calls.to_string(),
            millis(Some(figures.redis.longest_wait)),
        ]);
    }
    table.print();
}

/// The violations, one by one.
fn violations(all: &[Figures]) {
    for figures in all {
        for (rule, count) in figures.violations.iter().filter(|(_, count)| *count > 0) {
            println!(
                "violated by {}, {}: {rule:?}, {count} times",
                name(figures),
                moved(figures)
            );
        }
        for example in &figures.examples {
            println!("  {example}");
        }
    }
}

fn name(figures: &Figures) -> String {
    let workers = figures.plan.workers.to_string();
    match figures.plan.speed {
        1.0 => workers,
        speed => format!("{workers}, Redis {speed} × as fast"),
    }
}

fn intervals(figures: &Figures) -> String {
    let Plan {
        poll_interval,
        jitter,
        webhook,
        ..
    } = figures.plan;
    let webhook = if webhook { ", webhook" } else { "" };
    format!("{}, {}{webhook}", duration(poll_interval), duration(jitter))
}

fn moved(figures: &Figures) -> String {
    let size = figures.plan.copy_bytes;
    if figures.plan.patches {
        "a patch".to_owned()
    } else {
        format!("{} KB", size / 1_000)
    }
}

/// The value of a percentile.
fn percentile<T: std::marker::Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

fn millis(duration: Option<Duration>) -> String {
    match duration {
        None => "–".to_owned(),
        Some(duration) if duration.as_secs() >= 10 => format!("{:.1} s", duration.as_secs_f64()),
        Some(duration) => format!("{} ms", duration.as_millis()),
    }
}

pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "–".to_owned(),
        secs @ ..300 => format!("{secs} s"),
        secs @ ..10_800 => format!("{} min", secs / 60),
        secs @ ..259_200 => format!("{} h", secs / 3_600),
        secs => format!("{} d", secs / 86_400),
    }
}
