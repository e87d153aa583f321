//! What operators ask for, over a day of the paused clock: wasted units, changes that are held back, and replaced keys.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flagcache::{
    FetchError, FetchErrorKind, FetchResponse, FlagDefinitionPoller, FlagDefinitionPollerBuilder,
    FlagDefinitionSource, KeyFingerprint, MemoryStore, OnUnauthorized, OnWastedUnits, PollerState,
    Role,
};
use flagcache_providers::testing::{Reply, ScriptedSource};
use tokio::time::{Instant, sleep, timeout};
use tracing::Level;

use crate::support::{Logs, Rig, TICK, body, secs};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WORKERS: usize = 4;

/// Workers that share a store in memory and an API, with ticks every 30 s.
fn fleet(
    api: &ScriptedSource,
    configure: impl Fn(FlagDefinitionPollerBuilder) -> FlagDefinitionPollerBuilder,
) -> Vec<FlagDefinitionPoller> {
    let store = MemoryStore::new();
    let start = |_| {
        let builder = FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(store.provider())
            .poll_interval(secs(30));
        configure(builder).start().unwrap()
    };
    (0..WORKERS).map(start).collect()
}

fn wasted_warnings(logs: &Logs) -> usize {
    let mut warnings = logs.warnings();
    warnings.retain(|record| record.name == "flagcache.units_wasted");
    warnings.len()
}

/// Lets a day pass; no worker is ever without current flags. The units that it cost.
async fn day(api: &ScriptedSource, workers: &[FlagDefinitionPoller]) -> u64 {
    let (before, end) = (api.units(), Instant::now() + DAY);
    while Instant::now() < end {
        sleep(secs(15)).await;
        for worker in workers {
            assert_eq!(worker.status().state, PollerState::Ready);
        }
    }
    api.units() - before
}

#[tokio::test(start_paused = true)]
async fn b12_86_a_server_that_forgets_its_etags_for_a_day_costs_no_more_with_the_policy() {
    let mut cost = Vec::new();
    for (forgets, policy) in [
        (false, OnWastedUnits::Keep),
        (true, OnWastedUnits::Keep),
        (true, OnWastedUnits::Stretch),
    ] {
        let (logs, _listening) = Logs::capture();
        let api = ScriptedSource::new();
        api.serve(body("a"), Some("\"a\""));
        let workers = fleet(&api, |builder| builder.on_wasted_units(policy));
        sleep(TICK).await;
        if forgets {
            api.always(Reply::definitions(body("a"), Some("\"a\"")));
        }
        // Each of two ticks has sent one request.
        sleep(TICK * 2).await;
        assert_eq!(wasted_warnings(&logs), usize::from(forgets));
        let units = day(&api, &workers).await;
        assert_eq!(wasted_warnings(&logs), usize::from(forgets));

        let leader = workers
            .iter()
            .map(FlagDefinitionPoller::status)
            .find(|status| status.role == Role::Leader)
            .unwrap();
        let forecast = leader.units_per_day.unwrap();
        assert!(
            forecast.abs_diff(units) < units / 10,
            "{forecast} units were forecast, {units} were spent"
        );
        let wasted = leader.counters.units_wasted;
        assert!(wasted <= units && (wasted > units / 2) == forgets);
        cost.push(units);

        // The server knows its ETags again: seen at the next request, and a change at the next tick after it.
        api.always(Reply::current());
        sleep(secs(300)).await;
        api.serve(body("b"), Some("\"b\""));
        sleep(TICK * 2).await;
        for worker in &workers {
            assert!(worker.definitions().unwrap().flag("b").is_some());
            worker.shutdown().await.unwrap();
        }
    }
    println!("units of a day: normal, without and with the policy: {cost:?}");
    let [normal, kept, stretched] = cost[..] else {
        panic!("{cost:?}")
    };
    assert!(kept > normal * 9, "{cost:?}");
    assert!(stretched * 10 <= normal * 12, "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn b12_86_a_server_without_etags_is_noticed_too() {
    let (logs, _listening) = Logs::capture();
    let rig = Rig::new();
    rig.api.serve(body("a"), None);
    let worker = rig.start();
    worker.loads(3).await;
    assert_eq!(wasted_warnings(&logs), 1);
    let warning = logs.warnings().remove(0);
    assert_eq!(warning.fields["units_per_day"], "28800");
    assert_eq!(warning.fields["expected_units_per_day"], "2880");
    assert_eq!(worker.poller.status().counters.units_wasted, 18);
    worker.finish().await;
}

/// A source whose key comes from a file that may be replaced.
#[derive(Clone)]
struct Keyed {
    api: ScriptedSource,
    file: Arc<Mutex<&'static str>>,
    held: Arc<Mutex<&'static str>>,
    valid: Arc<Mutex<&'static str>>,
}

impl Keyed {
    fn new(api: &ScriptedSource, valid: &Arc<Mutex<&'static str>>) -> Self {
        Self {
            api: api.clone(),
            file: Arc::new(Mutex::new("old")),
            held: Arc::new(Mutex::new("old")),
            valid: Arc::clone(valid),
        }
    }

    fn replace(&self) {
        *self.file.lock().unwrap() = "new";
    }
}

#[async_trait]
impl FlagDefinitionSource for Keyed {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        self.reload_key().await;
        if *self.held.lock().unwrap() != *self.valid.lock().unwrap() {
            return Err(FetchError::new(FetchErrorKind::Unauthorized, "401"));
        }
        self.api.fetch(etag).await
    }

    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        Some(KeyFingerprint::of("phc", *self.held.lock().unwrap()))
    }

    async fn reload_key(&self) {
        *self.held.lock().unwrap() = *self.file.lock().unwrap();
    }
}

/// Files are replaced at different times: the leader still has the old key when the API refuses it, and one of the
/// followers has the new one already, and has sent no request with it.
#[tokio::test(start_paused = true)]
async fn b12_85_a_follower_whose_key_was_replaced_leads_at_once_and_keeps_its_flags() {
    let (api, store) = (ScriptedSource::new(), MemoryStore::new());
    api.serve(body("a"), Some("\"a\""));
    let valid = Arc::new(Mutex::new("old"));
    let start = || {
        let source = Keyed::new(&api, &valid);
        let worker = FlagDefinitionPoller::builder()
            .source(source.clone())
            .flag_definition_cache_provider(store.provider())
            .on_unauthorized(OnUnauthorized::Clear)
            .poll_interval(secs(600))
            .start()
            .unwrap();
        (source, worker)
    };
    let ((_, leader), (file, follower)) = (start(), start());
    for worker in [&leader, &follower] {
        worker.wait_ready(secs(10)).await.unwrap();
    }
    assert_eq!(leader.status().role, Role::Leader);
    let mut changes = follower.subscribe();

    file.replace();
    *valid.lock().unwrap() = "new";
    api.serve(body("b"), Some("\"b\""));
    leader.refresh().await.unwrap_err();
    let change = timeout(secs(10), changes.next()).await.unwrap().unwrap();
    assert!(change.new.is_some_and(|new| new.flag("b").is_some()));
    assert_eq!(follower.status().role, Role::Leader);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_keeps_its_flags_for_a_tick_when_the_api_loses_them() {
    for undone in [true, false] {
        let (logs, _listening) = Logs::capture();
        let api = ScriptedSource::new();
        api.serve(body("a"), Some("\"a\""));
        let workers = fleet(&api, |builder| builder.hold_back_removals(0.5));
        sleep(TICK).await;
        api.serve(r#"{"flags":[]}"#, Some("\"none\""));
        let seen = api.count() + 1;
        api.requested(seen).await;
        sleep(secs(1)).await;
        let count = |workers: &[FlagDefinitionPoller]| {
            let with_flags = |worker: &&FlagDefinitionPoller| worker.status().flags == Some(1);
            workers.iter().filter(with_flags).count()
        };
        assert_eq!(count(&workers), WORKERS);
        let errors = logs.all();
        let errors: Vec<_> = errors
            .iter()
            .filter(|record| record.level == Level::ERROR)
            .collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].name, "flagcache.change_held_back");
        assert_eq!(errors[0].fields["removed"], "1");
        assert_eq!(errors[0].fields["flags"], "1");
        if undone {
            api.serve(body("a"), Some("\"a\""));
        }
        sleep(TICK * 2).await;
        assert_eq!(count(&workers), if undone { WORKERS } else { 0 });
        for worker in &workers {
            worker.shutdown().await.unwrap();
        }
    }
}
