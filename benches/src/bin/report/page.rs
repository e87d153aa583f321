//! The page.

use std::fmt::Write as _;

use flagcache_benches::{Section, Table};

const INTRODUCTION: &str = "\
# Benchmarks

Written by `scripts/bench`, from one run of it on the machine below; edit nothing here. Each table names its peer, measured
in the same run. Ratios say more than times; those with a target are taken in turn, so that a busy machine slows both sides
down. A spread is from the fastest to the slowest sample. What the fleets cost beyond this machine, and where they would break,
is in [docs/guide/scale.md](docs/guide/scale.md).
";

/// The page as Markdown. `charts` is the folder of the charts, from where the page is.
pub(crate) fn write(machine: &Table, sections: &[Section], charts: &str) -> String {
    let mut page = format!("{INTRODUCTION}\n## The machine\n\n{}", markdown(machine));
    page.push_str("\n## The figures that were aimed at\n\n");
    let mut figures = Table::new("", &["figure", "target", "measured", ""]);
    for verdict in sections.iter().flat_map(|section| &section.verdicts) {
        let word = if verdict.met { "met" } else { "**missed**" };
        figures.row([&*verdict.figure, &*verdict.target, &*verdict.measured, word]);
    }
    page.push_str(&markdown(&figures));
    for section in sections {
        let _ = write!(page, "\n## {}\n", section.title);
        for text in &section.text {
            let _ = write!(page, "\n{}\n", wrapped(text));
        }
        for table in &section.tables {
            let _ = write!(page, "\n**{}**\n\n{}", table.title, markdown(table));
        }
        for chart in &section.charts {
            let _ = write!(page, "\n![{}]({charts}/{}.svg)\n", chart.title, chart.name);
        }
    }
    page
}

fn markdown(table: &Table) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = row(&table.columns);
    let bars = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, _)| if at == 0 { "---" } else { "---:" });
    let _ = writeln!(text, "|{}|", bars.collect::<Vec<_>>().join("|"));
    text.extend(table.rows.iter().map(|cells| row(cells)));
    text
}

/// Lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 120 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
