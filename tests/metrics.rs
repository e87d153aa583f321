//! The metrics, by the names that `docs/observability.md` gives them and the dashboard queries.
#![cfg(feature = "metrics")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy exempts the test functions, not their helpers"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use flagcache::{FetchErrorKind, FlagDefinitionPoller, ProviderErrorKind};
use flagcache_providers::testing::{Fault, Reply, ScriptedProvider, ScriptedSource};
use metrics::atomics::AtomicU64;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Keeps every value by `name{label=value}`.
#[derive(Default)]
struct Kept {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

fn written(key: &Key) -> String {
    let labels: Vec<String> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    if labels.is_empty() {
        key.name().to_owned()
    } else {
        format!("{}{{{}}}", key.name(), labels.join(","))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(
            self.counters
                .lock()
                .unwrap()
                .entry(written(key))
                .or_default(),
        ))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(
            self.gauges.lock().unwrap().entry(written(key)).or_default(),
        ))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Kept {
    /// The counters, by name and labels.
    fn counters(&self) -> Vec<(String, u64)> {
        let counters = self.counters.lock().unwrap();
        let value = |value: &AtomicU64| value.load(Ordering::Relaxed);
        counters
            .iter()
            .map(|(name, kept)| (name.clone(), value(kept)))
            .collect()
    }

    /// The gauges, by name and labels.
    fn gauges(&self) -> Vec<(String, f64)> {
        let gauges = self.gauges.lock().unwrap();
        let value = |value: &AtomicU64| f64::from_bits(value.load(Ordering::Relaxed));
        gauges
            .iter()
            .map(|(name, kept)| (name.clone(), value(kept)))
            .collect()
    }

    /// The names, without labels.
    fn names(&self) -> BTreeSet<String> {
        let counters = self.counters().into_iter().map(|(name, _)| name);
        let gauges = self.gauges().into_iter().map(|(name, _)| name);
        counters
            .chain(gauges)
            .map(|name| name.split('{').next().unwrap().to_owned())
            .collect()
    }
}

/// Runs `future` with a clock that is paused, and returns what it recorded.
fn recorded(future: impl Future<Output = ()>) -> Kept {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(future);
    });
    kept
}

/// What a poller records.
fn of_a_poller() -> Kept {
    recorded(async {
        let (provider, api) = (ScriptedProvider::new(), ScriptedSource::new());
        api.serve(r#"{"flags":[{"key":"a"},{"key":"b"}]}"#, Some("\"1\""));
        let builder = FlagDefinitionPoller::builder().source(api.clone()).manual();
        let poller = builder
            .flag_definition_cache_provider(provider.clone())
            .start()
            .unwrap();
        poller.refresh().await.unwrap();
        poller.refresh().await.unwrap();
        api.then(Reply::failure(FetchErrorKind::Server));
        poller.refresh().await.unwrap_err();
        provider.decision().always(false);
        provider
            .read()
            .then_fault(Fault::Error(ProviderErrorKind::Unavailable));
        poller.refresh().await.unwrap_err();
        let copy = r#"{"flags":[{"key":"c"}]}"#;
        provider.read().always(Some(
            flagcache::FlagDefinitionCacheData::from_json(copy).unwrap(),
        ));
        poller.refresh().await.unwrap();
        poller.shutdown().await.unwrap();
        let counters = poller.status().counters;
        assert_eq!(
            (counters.units_spent, counters.units_saved, counters.loads),
            (12, 10, 5)
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    })
}

/// What a poller records whose API forgets its ETags, then removes every flag, and which a refresh is requested of.
fn of_a_troubled_poller() -> Kept {
    recorded(async {
        let api = ScriptedSource::new();
        let builder = FlagDefinitionPoller::builder().source(api.clone()).manual();
        let poller = builder.hold_back_removals(0.5).start().unwrap();
        for _ in 0..2 {
            api.serve(r#"{"flags":[{"key":"a"}]}"#, None);
            poller.refresh().await.unwrap();
        }
        api.serve(r#"{"flags":[]}"#, None);
        poller.refresh().await.unwrap();
        poller.request_refresh().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        poller.refresh().await.unwrap();
        poller.shutdown().await.unwrap();
        let counters = poller.status().counters;
        assert!(counters.units_wasted >= 9, "{counters:?}");
        assert_eq!(counters.changes_held_back, 1);
    })
}

fn refs<T: Copy>(values: &[(String, T)]) -> Vec<(&str, T)> {
    values
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect()
}

#[test]
fn the_metrics_have_the_names_and_labels_of_the_documentation() {
    let kept = of_a_poller();
    assert_eq!(
        refs(&kept.counters()),
        [
            ("flagcache_loads_total", 5),
            (
                "flagcache_provider_faults_total{method=get_flag_definitions,kind=unavailable}",
                1
            ),
            ("flagcache_requests_total{status=not_modified}", 2),
            ("flagcache_requests_total{status=ok}", 1),
            ("flagcache_requests_total{status=server}", 1),
            ("flagcache_units_saved_total", 10),
            ("flagcache_units_spent_total", 12),
        ]
    );
    let mut gauges = kept.gauges();
    let confirmed = "flagcache_definitions_confirmed_timestamp_seconds";
    assert_eq!(gauges[0].0, confirmed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let age = now.unwrap().as_secs_f64() - gauges.remove(0).1;
    assert!((0.0..60.0).contains(&age), "{age}");
    assert_eq!(
        refs(&gauges),
        [
            ("flagcache_definitions_flags", 1.0),
            ("flagcache_definitions_version", 2.0),
            ("flagcache_role{role=follower}", 1.0),
            ("flagcache_role{role=leader}", 0.0),
            ("flagcache_role{role=undecided}", 0.0),
            ("flagcache_state{state=ready}", 0.0),
            ("flagcache_state{state=starting}", 0.0),
            ("flagcache_state{state=stopped}", 1.0),
        ]
    );
}

/// What an evaluation records that counts at most `max_series` pairs.
#[cfg(feature = "evaluation")]
fn of_an_evaluation(max_series: Option<usize>) -> Kept {
    use flagcache::{FlagSubject, LocalEvaluation};

    recorded(async {
        let api = ScriptedSource::new();
        let all = r#"{"groups":[{"properties":[],"rollout_percentage":100}]}"#;
        let variant = r#"{"groups":[{"properties":[],"rollout_percentage":100,"variant":"blue"}],
            "multivariate":{"variants":[{"key":"blue","rollout_percentage":100}]}}"#;
        let body = format!(
            r#"{{"flags":[{{"key":"on","active":true,"filters":{all}}},{{"key":"off","active":false,"filters":{all}}},
                {{"key":"color","active":true,"filters":{variant}}},
                {{"key":"sticky","active":true,"ensure_experience_continuity":true,"filters":{all}}}]}}"#
        );
        api.serve(body, Some("\"1\""));
        let builder = FlagDefinitionPoller::builder().source(api).manual();
        let poller = builder.start().unwrap();
        poller.refresh().await.unwrap();
        let mut builder = LocalEvaluation::builder(&poller);
        if let Some(max_series) = max_series {
            builder = builder.count_evaluations(max_series);
        }
        let flags = builder.attach();
        flags.synced().await;
        let ada = FlagSubject::new("ada");
        for _ in 0..2 {
            for key in ["on", "off", "color", "sticky", "<absent>"] {
                // An inconclusive evaluation is counted too.
                let _ = flags.evaluate(key, &ada);
            }
        }
        flags.evaluate_all(&ada);
        poller.shutdown().await.unwrap();
    })
}

#[cfg(feature = "evaluation")]
#[test]
fn evaluations_are_counted_by_flag_and_value_up_to_a_limit() {
    let counted = |max_series| {
        let mut counters = of_an_evaluation(max_series).counters();
        counters.retain(|(name, _)| name.starts_with("flagcache_evaluations_total"));
        counters
    };
    assert_eq!(
        refs(&counted(Some(4))),
        [
            ("flagcache_evaluations_total{flag=color,value=blue}", 2),
            ("flagcache_evaluations_total{flag=off,value=false}", 2),
            ("flagcache_evaluations_total{flag=on,value=true}", 2),
            ("flagcache_evaluations_total{flag=other,value=missing}", 2),
            (
                "flagcache_evaluations_total{flag=sticky,value=inconclusive}",
                2
            ),
        ]
    );
    assert_eq!(
        refs(&counted(Some(1))),
        [
            ("flagcache_evaluations_total{flag=on,value=true}", 2),
            ("flagcache_evaluations_total{flag=other,value=missing}", 2),
            ("flagcache_evaluations_total{flag=other,value=other}", 6),
        ]
    );
    assert_eq!(counted(None), [], "they are counted on request only");
}

/// The names in the table of `docs/observability.md`.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../docs/observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    names
        .filter(|name| name.starts_with("flagcache_"))
        .map(str::to_owned)
        .collect()
}

/// The names in the queries of the dashboard.
fn queried() -> BTreeSet<String> {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../docs/dashboards/flagcache.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut names = BTreeSet::new();
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = query.split(|c| !is_part(c));
        names.extend(
            words
                .filter(|word| word.starts_with("flagcache_"))
                .map(str::to_owned),
        );
    }
    names
}

#[cfg(feature = "evaluation")]
#[test]
fn each_documented_metric_is_emitted_and_is_on_the_dashboard() {
    let mut emitted = of_a_poller().names();
    emitted.extend(of_a_troubled_poller().names());
    emitted.extend(of_an_evaluation(Some(1)).names());
    assert_eq!(emitted, documented());
    assert_eq!(queried(), documented());
}
