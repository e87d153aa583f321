//! The metrics of a poller, by the names that `docs/observability.md` gives them.
#![cfg(feature = "metrics")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy exempts the test functions, not their helpers"
)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

#[test]
fn the_metrics_have_the_names_and_labels_of_the_documentation() {
    let kept = Kept::default();
    metrics::with_local_recorder(&kept, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
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
        });
    });
    let counters = kept.counters.into_inner().unwrap();
    let counters: Vec<_> = counters
        .iter()
        .map(|(name, value)| (name.as_str(), value.load(Ordering::Relaxed)))
        .collect();
    assert_eq!(
        counters,
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
    let gauges = kept.gauges.into_inner().unwrap();
    let gauges: Vec<_> = gauges
        .iter()
        .map(|(name, value)| (name.as_str(), f64::from_bits(value.load(Ordering::Relaxed))))
        .collect();
    assert_eq!(
        gauges,
        [
            ("flagcache_definitions_flags", 1.0),
            ("flagcache_definitions_version", 2.0),
            ("flagcache_role{role=follower}", 1.0),
            ("flagcache_role{role=leader}", 0.0),
            ("flagcache_role{role=undecided}", 0.0),
        ]
    );
    let documented = include_str!("../docs/observability.md");
    for (name, _) in counters {
        let name = name.split('{').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
}
