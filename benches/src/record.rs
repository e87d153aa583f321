//! The results of a bench: printed at its end, and stored for the report if `FLAGCACHE_BENCH_RECORDS` names a folder.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One section of the report.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Paragraphs before the tables.
    pub text: Vec<String>,
    /// What was measured.
    pub tables: Vec<Table>,
    /// The same, to be drawn.
    pub charts: Vec<Chart>,
    /// What it means for the figures that the design sets.
    pub verdicts: Vec<Verdict>,
}

/// Rows of cells. The first column names what the others measure.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The heads of the columns.
    pub columns: Vec<String>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

/// Lines over a logarithmic or linear ground.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chart {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What the horizontal axis counts.
    pub x: String,
    /// What the vertical axis counts.
    pub y: String,
    /// Whether each axis is logarithmic.
    pub log: [bool; 2],
    /// The lines.
    pub series: Vec<Series>,
}

/// One line of a chart.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A figure that the design sets, and what was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Of what.
    pub figure: String,
    /// What was aimed at.
    pub target: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is enough.
    pub met: bool,
}

impl Section {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a paragraph.
    pub fn say(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }

    /// Adds a verdict.
    pub fn judge(&mut self, figure: &str, target: &str, measured: impl Into<String>, met: bool) {
        let (figure, target) = (figure.to_owned(), target.to_owned());
        self.verdicts.push(Verdict {
            figure,
            target,
            measured: measured.into(),
            met,
        });
    }

    /// Prints it, and keeps it as `<name>.json`.
    pub fn finish(&self, name: &str) {
        println!("\n{}", self.to_text());
        if let Some(folder) = std::env::var_os("FLAGCACHE_BENCH_RECORDS") {
            let json = serde_json::to_string_pretty(self).expect("a section is JSON");
            std::fs::write(Path::new(&folder).join(name).with_extension("json"), json)
                .expect("the folder of records");
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for table in &self.tables {
            let _ = write!(text, "\n{}\n{}", table.title, table.to_text());
        }
        for Verdict {
            figure,
            target,
            measured,
            met,
        } in &self.verdicts
        {
            let _ = writeln!(
                text,
                "{} {figure}: {measured} (target: {target})",
                if *met { "met:" } else { "MISSED:" }
            );
        }
        text
    }
}

impl Table {
    /// A table without rows.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self {
            title: title.to_owned(),
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn to_text(&self) -> String {
        let all = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| {
            all()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<_> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in all() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let width = *width;
                let _ = if column == 0 {
                    write!(text, "{cell:<width$}")
                } else {
                    write!(text, "  {cell:>width$}")
                };
            }
            text.push('\n');
        }
        text
    }
}

impl Chart {
    /// A chart without lines.
    pub fn new(name: &str, title: &str, x: &str, y: &str) -> Self {
        let [name, title, x, y] = [name, title, x, y].map(str::to_owned);
        Self {
            name,
            title,
            x,
            y,
            log: [false; 2],
            series: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        self.series.push(Series {
            name: name.to_owned(),
            points: points.into_iter().collect(),
        });
    }
}
