//! `/status`: the state of the service, for a person to look at. Programs read `/healthz` and `/metrics`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use flagcache::{PollerState, PollerStatus};

use crate::Service;

/// How many flags that cannot be evaluated locally are listed.
const MAX_LISTED: usize = 20;

/// The page reloads every few seconds. It loads neither scripts nor anything from other hosts. It shows flags and errors,
/// but no key: serve it inside your network only, like `/metrics`.
pub(crate) async fn page(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let shown = Shown {
        status: service.poller.status(),
        uptime: service.started.elapsed(),
        faults: faults(&service.metrics.render()),
        undecidable: service.flags.undecidable(),
    };
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        ),
    ];
    (headers, Html(shown.html()))
}

/// What the page shows.
struct Shown {
    status: PollerStatus,
    uptime: Duration,
    faults: Vec<Fault>,
    /// The key and the reason of each flag that cannot be evaluated locally.
    undecidable: Vec<(String, String)>,
}

/// How often a method of the store failed with one kind of error.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    method: String,
    kind: String,
    count: String,
}

/// The failures of the store by method, which only the metrics distinguish.
fn faults(metrics: &str) -> Vec<Fault> {
    let label = |labels: &str, name: &str| {
        let (_, rest) = labels.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let lines = metrics.lines();
    let mut faults: Vec<_> = lines
        .filter_map(|line| {
            let rest = line.strip_prefix("flagcache_provider_faults_total{")?;
            let (labels, count) = rest.rsplit_once("} ")?;
            Some(Fault {
                method: label(labels, "method")?,
                kind: label(labels, "kind")?,
                count: count.to_owned(),
            })
        })
        .collect();
    faults.sort_unstable();
    faults
}

impl Shown {
    fn html(&self) -> String {
        let status = &self.status;
        let counters = status.counters;
        let (tone, meaning) = meaning(status.state);
        let ago = |ago: Option<Duration>| {
            ago.map_or("not yet".to_owned(), |ago| format!("{} ago", time(ago)))
        };
        let requests = match counters.failed_requests {
            0 => counters.requests.to_string(),
            failed => format!("{}, {failed} of them failed", counters.requests),
        };
        let facts = [
            row("Role", status.role.as_str()),
            row(
                "Flags",
                status
                    .flags
                    .map_or("none loaded".to_owned(), |flags| flags.to_string()),
            ),
            row("Changes since the start", status.version),
            row(
                "Read from",
                status
                    .origin
                    .map_or("nowhere yet", |origin| origin.as_str()),
            ),
            row("Confirmed by PostHog", ago(status.confirmed_ago)),
            row("Last load without an error", ago(status.last_success_ago)),
        ];
        let units = [
            row("Spent since the start", counters.units_spent),
            row("Per day at this rate", self.forecast()),
            row(
                "Wasted on definitions that were held",
                counters.units_wasted,
            ),
            row("Saved by the shared copy", counters.units_saved),
            row("Requests", requests),
            row("Running for", time(self.uptime)),
        ];
        [
            HEAD.to_owned(),
            format!(
                "<header class=\"{tone}\"><h1>{}</h1><p>{meaning}</p></header>\n",
                Escaped(status.state)
            ),
            section("Definitions", &format!("<dl>{}</dl>", facts.concat())),
            section(
                "Units billed by PostHog",
                &format!("<dl>{}</dl>", units.concat()),
            ),
            self.errors(),
            self.store(),
            self.undecidable(),
            "</main>\n</body>\n</html>\n".to_owned(),
        ]
        .concat()
    }

    fn forecast(&self) -> String {
        self.status.units_per_day.map_or_else(
            || "known after a minute".to_owned(),
            |units| units.to_string(),
        )
    }

    fn errors(&self) -> String {
        let mut rows = String::new();
        if let Some(error) = &self.status.last_error {
            rows += &row("Last load", format!("{error:#}"));
        }
        if let Some(kind) = self.status.api_failure {
            rows += &row("Last request", kind.as_str());
        }
        if !self.status.backoff.is_zero() {
            rows += &row("Next request in", time(self.status.backoff));
        }
        if rows.is_empty() {
            return section("Errors", "<p>None: the last load had no error.</p>");
        }
        section("Errors", &format!("<dl>{rows}</dl>"))
    }

    fn store(&self) -> String {
        let rows: String = self
            .faults
            .iter()
            .map(|fault| cells(&[&fault.method, &fault.kind, &fault.count]))
            .collect();
        if rows.is_empty() {
            return section("Failed calls of the store", "<p>None since the start.</p>");
        }
        let head = "<tr><th>Method</th><th>Kind</th><th>Since the start</th></tr>";
        section(
            "Failed calls of the store",
            &format!("<table>{head}{rows}</table>"),
        )
    }

    fn undecidable(&self) -> String {
        let title = "Flags that cannot be evaluated locally";
        if self.undecidable.is_empty() {
            return section(title, "<p>None.</p>");
        }
        let listed = self.undecidable.iter().take(MAX_LISTED);
        let rows: String = listed.map(|(key, reason)| cells(&[key, reason])).collect();
        let more = match self.undecidable.len().saturating_sub(MAX_LISTED) {
            0 => String::new(),
            more => format!("<p>And {more} more: see /healthz.</p>"),
        };
        let head = "<tr><th>Flag</th><th>Reason</th></tr>";
        section(title, &format!("<table>{head}{rows}</table>{more}"))
    }
}

/// The CSS class and the meaning of a state.
fn meaning(state: PollerState) -> (&'static str, &'static str) {
    match state {
        PollerState::Starting => ("warn", "No definitions yet."),
        PollerState::Ready => ("good", "The definitions are current."),
        PollerState::Stale => (
            "warn",
            "The definitions are served, but PostHog has not confirmed them for too long.",
        ),
        PollerState::Unauthorized => ("bad", "PostHog refuses the keys."),
        PollerState::QuotaLimited => ("bad", "The quota of the project is used up."),
        PollerState::Stopped => ("bad", "The poller has ended."),
        _ => ("warn", ""),
    }
}

fn section(title: &str, content: &str) -> String {
    format!("<section><h2>{title}</h2>{content}</section>\n")
}

fn row(name: &str, value: impl Display) -> String {
    format!("<dt>{name}</dt><dd>{}</dd>", Escaped(value))
}

fn cells(values: &[&str]) -> String {
    let cells: String = values
        .iter()
        .map(|value| format!("<td>{}</td>", Escaped(value)))
        .collect();
    format!("<tr>{cells}</tr>")
}

/// A duration, rounded for people.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A value, escaped as text of the page.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        text.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            char => std::fmt::Write::write_char(f, char),
        })
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="5">
<title>Feature flags: status</title>
<style>
:root { color-scheme: light dark; --text: #1d2129; --quiet: #5c6470; --back: #f5f6f8; --card: #fff; --line: #dfe2e7;
  --good: #1a7f43; --warn: #9a6200; --bad: #c0262d; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e7e9ee; --quiet: #a2a9b5; --back: #14171c; --card: #1d2128; --line: #333944;
    --good: #4cc27b; --warn: #e8ae45; --bad: #ff7b7b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
header, section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem; }
header, section:nth-of-type(n + 3) { grid-column: 1 / -1; }
header { border-left: .4rem solid var(--tone); }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; color: var(--tone); }
h2 { margin: 0 0 .5rem; font-size: 1rem; }
p { margin: 0; color: var(--quiet); }
dl { margin: 0; display: grid; grid-template-columns: minmax(9rem, auto) 1fr; gap: .25rem 1rem; }
dt, th { color: var(--quiet); font-weight: normal; text-align: left; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
</style>
</head>
<body>
<main>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_from_the_metrics() {
        let metrics = "# TYPE flagcache_provider_faults_total counter\n\
            flagcache_provider_faults_total{method=\"get_flag_definitions\",kind=\"timeout\"} 3\n\
            flagcache_loads_total 7\n";
        let expected = Fault {
            method: "get_flag_definitions".to_owned(),
            kind: "timeout".to_owned(),
            count: "3".to_owned(),
        };
        assert_eq!(faults(metrics), [expected]);
    }

    #[test]
    fn text_stays_text() {
        let shown = cells(&["<b>\"it's\" & more</b>"]);
        let expected = "<tr><td>&lt;b&gt;&quot;it&#39;s&quot; &amp; more&lt;/b&gt;</td></tr>";
        assert_eq!(shown, expected);
    }
}
