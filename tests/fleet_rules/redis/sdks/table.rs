//! The table that is printed.

use std::fmt;

use super::KINDS;
use super::figure::Figure;
use super::team::name;

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
