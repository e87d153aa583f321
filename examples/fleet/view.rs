//! The live view: the view model as lines of a terminal.

use std::time::Duration;

use crate::protocol::UnixMicros;
use crate::view_model::{Row, Tally, ViewState, WorkerState};

/// The size of the terminal, and whether it shows colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) colour: bool,
}

/// The width of the time at the beginning of a line of the story.
const STORY_INDENT: usize = 9;
/// Fleets whose requests are shown.
const TALLIES: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

/// `canvas.height` lines at most, none wider than `canvas.width`.
pub(crate) fn render(
    state: &ViewState,
    elapsed: Duration,
    now: UnixMicros,
    canvas: Canvas,
) -> Vec<String> {
    let Canvas { width, height, .. } = canvas;
    let title = format!(
        "flagcache fleet, {:.1} s: {}",
        elapsed.as_secs_f64(),
        state.title
    );
    let mut lines = vec![(title, Paint::Bold)];

    // A terminal with few lines omits the less important parts.
    let gaps = usize::from(height >= 18);
    let story_at_least = (height / 4).clamp(1, 8);
    let tallies = if height >= 10 {
        tallies(state)
    } else {
        Vec::new()
    };
    let taken = lines.len() + gaps * 3 + tallies.len() + story_at_least;
    let workers = workers(state, now, height.saturating_sub(taken));
    for block in [workers, tallies] {
        lines.extend((0..gaps).map(|_| (String::new(), Paint::Plain)));
        lines.extend(block);
    }
    lines.extend((0..gaps).map(|_| (String::new(), Paint::Plain)));
    lines.extend(story(state, width, height.saturating_sub(lines.len())));

    lines.truncate(height);
    lines
        .into_iter()
        .map(|(text, paint)| painted(&text, paint, canvas))
        .collect()
}

/// The header and a row a worker, in `room` lines; nothing if that is not enough for one.
fn workers(state: &ViewState, now: UnixMicros, room: usize) -> Vec<(String, Paint)> {
    let Some(room) = room.checked_sub(1).filter(|room| *room > 0) else {
        return Vec::new();
    };
    let mut rows: Vec<&Row> = state.workers.iter().collect();
    if rows.len() > room {
        rows.retain(|row| row.worker_state != WorkerState::Ended);
    }
    let mut left_out = 0;
    if rows.len() > room {
        // The leader is the most important row, more than the number of the omitted ones.
        rows.sort_by_key(|row| !leads(row));
        let shown = (room - 1).max(1);
        left_out = rows.len() - shown;
        rows.truncate(shown);
    }
    let header = format!(
        "{:<10}  {:<9}  {:<6}  {:>7}  {:>6}  {:>7}",
        "worker", "role", "origin", "version", "flags", "age"
    );
    let mut lines = vec![(header, Paint::Dim)];
    lines.extend(rows.into_iter().map(|row| worker(row, now)));
    if left_out > 0 && room > 1 {
        lines.push((format!("and {left_out} more"), Paint::Dim));
    }
    lines
}

fn worker(row: &Row, now: UnixMicros) -> (String, Paint) {
    let load = row.load.as_ref();
    let role = match (row.worker_state, load) {
        (WorkerState::Ended, _) => "ended",
        (_, Some(load)) => load.role.as_str(),
        (_, None) => "starting",
    };
    let none = || "-".to_owned();
    let origin = load
        .and_then(|load| load.origin.clone())
        .unwrap_or_else(none);
    let version = load.map_or_else(none, |load| load.version.to_string());
    let flags = load
        .and_then(|load| load.flags)
        .map_or_else(none, |flags| flags.to_string());
    let confirmed_ago = load
        .and_then(|load| load.confirmed_ms)
        .filter(|_| row.worker_state != WorkerState::Ended);
    let age = confirmed_ago.map_or_else(none, |millis| {
        let age = Duration::from_millis(millis) + now.since(row.loaded_at);
        format!("{:.1} s", age.as_secs_f64())
    });
    let unwell = load
        .map(|load| load.state.as_str())
        .filter(|state| !matches!(*state, "ready" | "starting"));
    let note = row
        .error
        .as_deref()
        .or(unwell)
        .filter(|_| row.worker_state != WorkerState::Ended)
        .unwrap_or_default();

    let text = format!(
        "{:<10}  {role:<9}  {origin:<6}  {version:>7}  {flags:>6}  {age:>7}  {note}",
        row.name
    );
    let paint = match row.worker_state {
        WorkerState::Ended => Paint::Dim,
        _ if !note.is_empty() => Paint::Yellow,
        _ if leads(row) => Paint::Green,
        _ => Paint::Plain,
    };
    (text, paint)
}

fn leads(row: &Row) -> bool {
    row.worker_state != WorkerState::Ended
        && row.load.as_ref().is_some_and(|load| load.role == "leader")
}

/// The header, and the requests of the last fleets.
fn tallies(state: &ViewState) -> Vec<(String, Paint)> {
    let header = format!(
        "{:<17}  {:>6}  {:>6}  {:>6}  {:>7}",
        "requests", "200", "304", "failed", "units"
    );
    let mut lines = vec![(header, Paint::Dim)];
    let first = state.tallies.len().saturating_sub(TALLIES);
    lines.extend(state.tallies[first..].iter().map(|tally| {
        let Tally {
            fleet,
            full,
            unchanged,
            failed,
        } = tally;
        let text = format!(
            "{fleet:<17}  {full:>6}  {unchanged:>6}  {failed:>6}  {:>7}",
            tally.units()
        );
        (text, Paint::Plain)
    }));
    lines
}

/// The end of the story, in `room` lines.
fn story(state: &ViewState, width: usize, room: usize) -> Vec<(String, Paint)> {
    let mut lines = Vec::new();
    for line in state.story.iter().rev().take(room) {
        let paint = match line.get(STORY_INDENT..).unwrap_or_default().trim_start() {
            rest if rest.starts_with("ok:") => Paint::Green,
            rest if rest.starts_with("DOES NOT HOLD") => Paint::Red,
            _ => Paint::Plain,
        };
        // Last line first: the result is reversed at the end.
        lines.extend(
            wrapped(line, width)
                .into_iter()
                .rev()
                .map(|line| (line, paint)),
        );
    }
    lines.truncate(room);
    lines.reverse();
    lines
}

/// In lines of this width, the further ones indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let indent = if width > 4 * STORY_INDENT {
        STORY_INDENT + 4
    } else {
        0
    };
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width.max(1) {
        let own_indent = rest.iter().take_while(|letter| **letter == ' ').count();
        let space = (own_indent + 1..=width).rev().find(|at| rest[*at] == ' ');
        let line: String = rest.drain(..space.unwrap_or(width.max(1))).collect();
        lines.push(line);
        let next = rest.iter().skip_while(|letter| **letter == ' ');
        rest = std::iter::repeat_n(' ', indent)
            .chain(next.copied().collect::<Vec<_>>())
            .collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// Cut to the width of the terminal, without control characters.
fn painted(text: &str, paint: Paint, canvas: Canvas) -> String {
    let text: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(canvas.width)
        .collect();
    let code = match paint {
        Paint::Plain => return text,
        Paint::Bold => 1,
        Paint::Dim => 2,
        Paint::Red => 31,
        Paint::Green => 32,
        Paint::Yellow => 33,
    };
    if canvas.colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text
    }
}
