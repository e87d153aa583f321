//! `docs/conformance.md` and the tests agree: each rule has a test, and the page lists all tests that are named after a rule.
//! Every test that `docs/guide/what-if.md` names exists. The table of capabilities in the README is what the stores' conformance
//! tests claim, and so prove.
//!
//! `FLAGCACHE_WRITE_CONFORMANCE=1 cargo test --test conformance_page` rewrites the column of tests and that table. The text of the rules is
//! written by hand. A rule without a test stands as a comment below its table, and becomes a row with its first test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use flagcache_providers::testing::conformance::CASES;

const PAGE: &str = "docs/conformance.md";
const WHAT_IF: &str = "docs/guide/what-if.md";
/// Each rule up to this one has a test.
const LAST_REQUIRED: u32 = 57;

/// `B1.03`: the section and the number that the names of its tests begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    section: u32,
    number: u32,
}

impl Rule {
    /// Of the name of a test, such as `b1_03_false_and_hit_uses_no_http`.
    fn of_test(name: &str) -> Option<Self> {
        let (section, rest) = name.strip_prefix('b')?.split_once('_')?;
        let (number, _) = rest.split_once('_')?;
        Self::parse(section, number)
    }

    /// Of the first cell of a row, such as `B1.03`.
    fn of_cell(cell: &str) -> Option<Self> {
        let (section, number) = cell.trim().strip_prefix('B')?.split_once('.')?;
        Self::parse(section, number)
    }

    fn parse(section: &str, number: &str) -> Option<Self> {
        Some(Self {
            section: section.parse().ok()?,
            number: (number.len() == 2).then(|| number.parse().ok()).flatten()?,
        })
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "B{}.{:02}", self.section, self.number)
    }
}

/// What the sources say.
#[derive(Default)]
struct Tests {
    /// `path::name` of each test that is named after a rule.
    by_rule: BTreeMap<Rule, BTreeSet<String>>,
    /// The name of each test.
    names: BTreeSet<String>,
}

impl Tests {
    fn read(root: &Path) -> Self {
        let mut tests = Self::default();
        for file in rust_files(root) {
            let path = file.strip_prefix(root).unwrap();
            let path = path.to_str().unwrap().replace('\\', "/");
            tests.add(&path, &fs::read_to_string(&file).unwrap());
        }
        tests
    }

    fn add(&mut self, path: &str, source: &str) {
        let mut is_test = false;
        for line in source.lines() {
            let line = line.trim_start();
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some(name) = function(line) else { continue };
            if let Some(rule) = Rule::of_test(name) {
                let listed = self.by_rule.entry(rule).or_default();
                listed.insert(format!("{path}::{name}"));
                // The rules of fleets are functions that one test for each store calls.
                is_test |= path.starts_with("tests/fleet_rules/");
            }
            if std::mem::take(&mut is_test) {
                self.names.insert(name.to_owned());
            }
        }
        // A test without a harness lists its cases: `("name", cases::function)`.
        let parts: Vec<&str> = source.split('"').map(str::trim).collect();
        for pair in parts.windows(2) {
            let after = pair[1].strip_prefix(',').map(str::trim_start);
            if after.is_some_and(|after| after.starts_with("cases::")) {
                self.names.insert(pair[0].to_owned());
            }
        }
    }
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let name = line.strip_prefix("fn ")?;
    let end = name.find(['(', '<'])?;
    Some(&name[..end])
}

/// All of them below `folder`, without hidden folders and what cargo builds.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                files.extend(rust_files(&path));
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}

/// The page with the tests of each rule: what its column of tests says is ignored.
fn rewritten(page: &str, tests: &Tests) -> String {
    let mut text = String::new();
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        if let Some(rule) = rule_of(line) {
            rows.insert(rule, line.split('|').nth(2).unwrap().trim());
            continue;
        }
        if line.starts_with("## ") {
            end_section(&mut text, &mut rows, tests);
        }
        // Empty lines between the rows and the comments: written with them.
        if !line.is_empty() || rows.is_empty() {
            text += line;
            text.push('\n');
        }
    }
    end_section(&mut text, &mut rows, tests);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Writes the rows of a section: those with a test, then the others as comments, each in the order of the numbers.
fn end_section(text: &mut String, rows: &mut BTreeMap<Rule, &str>, tests: &Tests) {
    let mut untested = String::new();
    let rows = std::mem::take(rows);
    if rows.is_empty() {
        return;
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (rule, what) in rows {
        let named = tests.by_rule.get(&rule).into_iter().flatten();
        let named: Vec<String> = named.map(|test| format!("`{test}`")).collect();
        let row = format!("| {rule} | {what} | {} |", named.join("<br>"));
        if named.is_empty() {
            untested += &format!("<!-- {row} -->\n");
        } else {
            *text += &row;
            text.push('\n');
        }
    }
    text.push('\n');
    if !untested.is_empty() {
        *text += &untested;
        text.push('\n');
    }
}

/// The rule of a row, or of a row that stands as a comment.
fn rule_of(line: &str) -> Option<Rule> {
    Rule::of_cell(line.split('|').nth(1)?)
}

#[test]
fn the_conformance_page_lists_the_tests_of_each_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let tests = Tests::read(root);

    let mut rules: Vec<Rule> = page.lines().filter_map(rule_of).collect();
    rules.sort_unstable();
    let numbers: Vec<u32> = rules.iter().map(|rule| rule.number).collect();
    let all: Vec<u32> = (1..=numbers.iter().copied().max().unwrap_or(0)).collect();
    assert_eq!(numbers, all, "{PAGE} has each rule once");
    for (rule, named) in &tests.by_rule {
        let known = rules.contains(rule);
        assert!(known, "{PAGE} has no rule {rule}; {named:?} prove it");
    }
    for rule in rules.iter().filter(|rule| rule.number <= LAST_REQUIRED) {
        let tested = tests.by_rule.contains_key(rule);
        assert!(tested, "no test is named after {rule}");
    }

    let right = rewritten(&page, &tests);
    if std::env::var_os("FLAGCACHE_WRITE_CONFORMANCE").is_some() {
        fs::write(&path, right).unwrap();
        return;
    }
    let wrong: Vec<&str> = right
        .lines()
        .filter(|right| !page.lines().any(|line| line == *right))
        .map(|line| line.split('|').nth(1).unwrap_or(line).trim())
        .collect();
    assert!(
        right == page,
        "{PAGE} and the tests differ in {wrong:?}: run `FLAGCACHE_WRITE_CONFORMANCE=1 cargo test --test conformance_page`"
    );
}

#[test]
fn each_row_of_the_what_if_page_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(WHAT_IF)).unwrap();
    let tests = Tests::read(root);
    let mut rows = 0;
    for (index, line) in page.lines().enumerate() {
        let number = index + 1;
        if !line.starts_with('|') || line.starts_with("|---") {
            continue;
        }
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap();
        if cell.contains("the test") {
            continue;
        }
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{WHAT_IF}:{number} names no test");
        for name in named {
            assert!(
                tests.names.contains(name),
                "{WHAT_IF}:{number} names {name}, and there is no such test"
            );
        }
        rows += 1;
    }
    assert!(rows > 0, "{WHAT_IF} has no rows");
}

/// The columns of the README's table of capabilities, and the function that the conformance test of each store calls; none
/// for a store whose test runs every rule.
const STORES: [(&str, &str); 7] = [
    ("Memory", "Memory::fresh"),
    ("File", "Files::fresh"),
    ("Redis", "Server::fresh"),
    ("PostgreSQL", "Database::fresh"),
    ("Object store", "Bucket::on_s3"),
    ("SQLite (example)", "Sqlite::fresh"),
    ("NATS (example)", ""),
];
const CAPABILITIES: [(&str, &str); 15] = [
    ("elects", "at most one worker leads"),
    (
        "lease",
        "a leader that is killed is replaced when its lease ends",
    ),
    (
        "create_only",
        "a follower fills an empty store and overwrites nothing",
    ),
    ("fenced", "a late leader overwrites nothing"),
    ("stored_copy", "a new leader starts from the stored copy"),
    ("restores", "a lost or damaged copy is restored"),
    ("steps_down", "a leader that cannot fetch steps down"),
    (
        "carries_requests",
        "a refresh that any worker requests reaches the leader",
    ),
    ("push", "followers are notified of changes"),
    ("confirms", "followers see when the copy was last confirmed"),
    ("reports_lease", "followers see when the lease ends"),
    ("quota_mark", "followers see that the quota is used up"),
    (
        "fleet_failure",
        "followers see that the leader's request failed, and send none",
    ),
    ("damage", "tested with damaged copies"),
    ("outage", "tested through outages of the server"),
];
const BEGIN: &str = "<!-- capabilities -->\n";
const END: &str = "<!-- end of capabilities -->";

/// The capabilities that `conformance!(fresh, …)` names, wherever that stands.
fn claims(sources: &[String], fresh: &str) -> Vec<String> {
    if fresh.is_empty() {
        return CAPABILITIES.map(|(name, _)| name.to_owned()).to_vec();
    }
    let mut found = sources.iter().flat_map(|source| {
        let calls = source.split("conformance!(").skip(1);
        calls.filter_map(|call| call.trim_start().strip_prefix(fresh)?.split_once(')'))
    });
    let (claims, _) = found
        .next()
        .unwrap_or_else(|| panic!("no conformance!({fresh}, …)"));
    assert!(found.next().is_none(), "two of conformance!({fresh}, …)");
    let claims = claims.split(',').map(|claim| claim.trim().to_owned());
    claims.filter(|claim| !claim.is_empty()).collect()
}

/// Whether a rule that needs the capability applies to a store with these.
fn proves(claimed: &[String], name: &str) -> bool {
    let claims = |need: &str| claimed.iter().any(|claim| claim == need);
    let mut rules = CASES.iter().filter(|case| case.needs.contains(&name));
    rules.any(|case| case.needs.iter().all(|need| claims(need)))
}

#[test]
fn the_table_of_capabilities_is_what_the_stores_prove() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["flagcache-providers/tests", "examples"].map(|folder| root.join(folder));
    let sources: Vec<_> = folders
        .iter()
        .flat_map(|folder| rust_files(folder))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let claimed = STORES.map(|(_, fresh)| claims(&sources, fresh));
    let mut table = format!(
        "| |{}\n|---|",
        STORES.map(|(name, _)| format!(" {name} |")).concat()
    );
    table += &"---|".repeat(STORES.len());
    table.push('\n');
    for (name, meaning) in CAPABILITIES {
        let cells = claimed.each_ref().map(|claimed| {
            if proves(claimed, name) {
                " yes |"
            } else {
                " |"
            }
        });
        table += &format!("| {meaning} (`{name}`) |{}\n", cells.concat());
    }
    for claim in claimed.iter().flatten() {
        let known = CAPABILITIES.iter().any(|(name, _)| name == claim);
        assert!(known, "{claim} has no row in the table of capabilities");
    }
    let path = root.join("README.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (present, after) = rest.split_once(END).unwrap();
    if std::env::var_os("FLAGCACHE_WRITE_CONFORMANCE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        present == table,
        "README.md and the claims of the conformance tests differ: run \
         `FLAGCACHE_WRITE_CONFORMANCE=1 cargo test --test conformance_page`"
    );
}
