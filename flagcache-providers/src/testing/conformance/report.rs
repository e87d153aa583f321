//! [`Report`]: what a provider proved, for its README and for other programs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::run::{message, run};
use super::{CASES, Capabilities, Case, Verdict};

/// Holds the path of the file that the result is written to.
const JSON_FILE: &str = "FLAGCACHE_CONFORMANCE_JSON";

/// What a provider proved, failed, and does not have. `Display` is a Markdown table.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    capabilities: Capabilities,
    verdicts: BTreeMap<&'static str, Verdict>,
}

/// What the rules say of one capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Each rule that needs it was kept.
    Proved,
    /// A rule that needs it was broken.
    Failed,
    /// The store does not claim it.
    Absent,
    /// The store claims it, but each rule that needs it needs a capability too that it does not claim, such as `damage`.
    Untested,
    /// A rule that needs it has not run.
    NotRun,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Failed => "failed",
            Self::Absent => "absent",
            Self::Untested => "untested",
            Self::NotRun => "not run",
        }
    }
}

impl Report {
    /// Of the results of [`run_all`](super::run_all). `name` says what was tested.
    pub fn new(
        name: impl Into<String>,
        capabilities: Capabilities,
        verdicts: impl IntoIterator<Item = (&'static str, Verdict)>,
    ) -> Self {
        Self {
            name: name.into(),
            capabilities,
            verdicts: verdicts.into_iter().collect(),
        }
    }

    /// Whether each rule that applies has run.
    pub fn is_complete(&self) -> bool {
        let mut applicable = CASES.iter().filter(|case| self.applies(case));
        applicable.all(|case| self.verdicts.contains_key(case.name))
    }

    /// The report as JSON: `capabilities` with the status of each, and `rules` with what each needs, its result, and the
    /// message if it was broken. `contract` stands for what each provider must do.
    pub fn to_json(&self) -> Value {
        let capabilities: Map<_, _> = Self::sections()
            .map(|name| (name.to_owned(), self.status(name).word().into()))
            .collect();
        let rules: Map<_, _> = CASES
            .iter()
            .map(|case| (case.name.to_owned(), self.rule(case)))
            .collect();
        json!({
            "flagcache": env!("CARGO_PKG_VERSION"),
            "capabilities": capabilities,
            "rules": rules,
        })
    }

    /// With the results of the rules that have not run here but in `earlier`, an output of [`to_json`](Self::to_json).
    fn beside(mut self, earlier: Option<&Value>) -> Self {
        for case in CASES {
            let Some(rule) = earlier.map(|earlier| &earlier["rules"][case.name]) else {
                continue;
            };
            let verdict = match rule["result"].as_str() {
                Some("passed") => Verdict::Passed,
                Some("failed") => {
                    Verdict::Failed(rule["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => continue,
            };
            self.verdicts.entry(case.name).or_insert(verdict);
        }
        self
    }

    fn rule(&self, case: &Case) -> Value {
        match self.verdicts.get(case.name) {
            _ if !self.applies(case) => json!({"needs": case.needs, "result": "does not apply"}),
            Some(Verdict::Passed) => json!({"needs": case.needs, "result": "passed"}),
            Some(Verdict::Failed(message)) => {
                json!({"needs": case.needs, "result": "failed", "message": message})
            }
            _ => json!({"needs": case.needs, "result": "not run"}),
        }
    }

    fn applies(&self, case: &Case) -> bool {
        case.needs.iter().all(|need| self.capabilities.has(need))
    }

    /// What each provider must do, then the capabilities.
    fn sections() -> impl Iterator<Item = &'static str> {
        std::iter::once(CONTRACT).chain(Capabilities::NAMES.iter().copied())
    }

    fn rules_of(section: &str) -> impl Iterator<Item = &'static Case> {
        CASES.iter().filter(move |case| {
            case.needs.contains(&section) || (section == CONTRACT && case.needs.is_empty())
        })
    }

    fn status(&self, section: &str) -> Status {
        if section != CONTRACT && !self.capabilities.has(section) {
            return Status::Absent;
        }
        let mut status = Status::Untested;
        for case in Self::rules_of(section).filter(|case| self.applies(case)) {
            match self.verdicts.get(case.name) {
                Some(Verdict::Failed(_)) => return Status::Failed,
                Some(Verdict::Passed) if status == Status::Untested => status = Status::Proved,
                Some(Verdict::Passed) => {}
                _ => status = Status::NotRun,
            }
        }
        status
    }
}

/// What each provider must do, with or without capabilities.
const CONTRACT: &str = "contract";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "Conformance of {} (flagcache {version})\n", self.name)?;
        writeln!(
            f,
            "| capability | | rules kept | broken |\n|---|---|---|---|"
        )?;
        for section in Self::sections() {
            let of = |wanted: fn(&Verdict) -> bool| -> Vec<_> {
                Self::rules_of(section)
                    .filter(|case| self.verdicts.get(case.name).is_some_and(wanted))
                    .map(|case| format!("`{}`", case.name))
                    .collect()
            };
            let kept = of(|verdict| *verdict == Verdict::Passed).len();
            let broken = of(|verdict| matches!(verdict, Verdict::Failed(_))).join(", ");
            match self.status(section) {
                Status::Absent => writeln!(f, "| `{section}` | absent | | |")?,
                status => writeln!(f, "| `{section}` | {} | {kept} | {broken} |", status.word())?,
            }
        }
        Ok(())
    }
}

/// The results of one [`conformance!`](crate::conformance!), as its tests end.
#[derive(Debug)]
pub struct Kit {
    module: &'static str,
    capabilities: &'static [&'static str],
    verdicts: Mutex<BTreeMap<&'static str, Verdict>>,
}

impl Kit {
    /// Before the first test. `module` names the package and the module, and so the provider in the JSON file.
    pub const fn new(module: &'static str, capabilities: &'static [&'static str]) -> Self {
        Self {
            module,
            capabilities,
            verdicts: Mutex::new(BTreeMap::new()),
        }
    }

    /// Notes the result of a rule; after the last one, prints the report.
    fn record(&self, case: &'static str, verdict: Verdict) -> io::Result<()> {
        let report = {
            let mut verdicts = self.verdicts.lock();
            verdicts.insert(case, verdict);
            let capabilities = Capabilities::named(self.capabilities);
            Report::new(self.module, capabilities, verdicts.clone())
        };
        if let Some(path) = std::env::var_os(JSON_FILE) {
            write(Path::new(&path), self.module, &report)?;
        }
        if report.is_complete() {
            // Not `eprintln!`, which the test harness captures. A closed stream is no reason to fail.
            let _ = writeln!(io::stderr().lock(), "\n{report}");
        }
        Ok(())
    }
}

/// Runs one rule as [`run`] does, and notes its result.
///
/// # Panics
/// If the rule is broken, or the result cannot be written to the file that `FLAGCACHE_CONFORMANCE_JSON` names.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub fn run_case(kit: &Kit, case: &'static str, rule: impl Future<Output = ()>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(rule)));
    let verdict = match &outcome {
        Ok(()) => Verdict::Passed,
        Err(panic) => Verdict::Failed(message(panic.as_ref())),
    };
    let recorded = kit.record(case, verdict);
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    if let Err(error) = recorded {
        panic!("the result cannot be written to the file that {JSON_FILE} names: {error}");
    }
}

/// Puts the report into the file, beside those of other modules. Several processes may write to it, each with some of the rules: what
/// the file says of the rest stays.
fn write(path: &Path, module: &str, report: &Report) -> io::Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut all: Map<String, Value> = if text.trim().is_empty() {
        Map::new()
    } else {
        serde_json::from_str(&text)?
    };
    let report = report.clone().beside(all.get(module));
    all.insert(module.to_owned(), report.to_json());
    let text = serde_json::to_string_pretty(&all)?;
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(capabilities: Capabilities, broken: &[&str]) -> Report {
        let verdicts = CASES.iter().map(|case| {
            let failed = broken.contains(&case.name);
            let verdict = if failed {
                Verdict::Failed("it lost the copy".to_owned())
            } else {
                Verdict::Passed
            };
            (case.name, verdict)
        });
        Report::new("my_store: conformance::rules", capabilities, verdicts)
    }

    #[test]
    fn each_capability_is_proved_failed_or_absent() {
        let claims = Capabilities::named(&["elects", "steps_down", "damage", "fenced"]);
        let mut report = report(claims, &["leader_steps_down_on_request"]);
        assert!(report.is_complete());
        let json = report.to_json();
        let status = |name: &str| json["capabilities"][name].as_str().unwrap().to_owned();
        assert_eq!(status("contract"), "proved");
        assert_eq!(status("damage"), "proved");
        assert_eq!(status("steps_down"), "failed");
        assert_eq!(status("push"), "absent");
        // Its rule needs `lease` too.
        assert_eq!(status("fenced"), "untested");
        let rule = &json["rules"]["leader_steps_down_on_request"];
        assert_eq!(rule["result"], "failed");
        assert_eq!(rule["message"], "it lost the copy");
        assert_eq!(
            json["rules"]["publish_is_notified"]["result"],
            "does not apply"
        );
        let text = report.to_string();
        assert!(
            text.contains("| `steps_down` | failed | 1 | `leader_steps_down_on_request` |"),
            "{text}"
        );
        assert!(text.contains("| `push` | absent | | |"), "{text}");

        report.verdicts.remove("garbage_is_an_error");
        assert!(!report.is_complete());
        assert_eq!(report.to_json()["capabilities"]["damage"], "not run");
    }

    /// As when each test is a process of its own.
    #[test]
    fn the_file_keeps_the_results_of_rules_that_ran_in_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conformance.json");
        let claims = Capabilities::named(&["elects"]);
        let whole = report(claims, &["at_most_one_leads"]);
        let ran = |case: &'static str, verdict: &Verdict| {
            Report::new("m", claims, [(case, verdict.clone())])
        };
        for (case, verdict) in &whole.verdicts {
            write(&path, "m", &ran(case, verdict)).unwrap();
        }
        let read = || -> Value { serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() };
        assert_eq!(read()["m"], whole.to_json());
        write(&path, "m", &ran("at_most_one_leads", &Verdict::Passed)).unwrap();
        assert_eq!(read()["m"], report(claims, &[]).to_json());
    }

    #[test]
    fn the_file_keeps_other_modules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conformance.json");
        for module in ["one", "other", "one"] {
            write(&path, module, &report(Capabilities::NONE, &[])).unwrap();
        }
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let modules: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(modules, ["one", "other"]);
        std::fs::write(&path, "no JSON").unwrap();
        assert!(write(&path, "one", &report(Capabilities::NONE, &[])).is_err());
    }
}
