//! What a worker process does.

use std::env;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flagcache::{
    FileProvider, FileStore, FlagDefinitionPoller, FlagDefinitionPollerBuilder, PollerState,
    PostHogApi, ProviderRegistry, Role,
};
#[cfg(feature = "redis")]
use flagcache::{RedisProvider, RedisStore, Tiered};
use flagcache_providers::testing::ApiStub;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::interval;

use crate::protocol::{Event, Order, Report};

/// The variable that holds a worker's assignment.
pub(crate) const ASSIGNMENT: &str = "FLAGCACHE_TEST_ASSIGNMENT";
pub(crate) const SERVICE: &str = "checkout";

/// The configuration of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// The end of its User-Agent.
    pub(crate) name: String,
    /// The host of the API.
    pub(crate) api: String,
    pub(crate) secret_key: String,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
}

/// What the workers of a fleet share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Store {
    File {
        folder: PathBuf,
    },
    Redis {
        url: String,
        lock_ttl: Duration,
    },
    /// What a URL opens, which names the service too.
    Url {
        url: String,
    },
    /// Redis first, a folder of the machine as fallback.
    Tiered {
        url: String,
        lock_ttl: Duration,
        folder: PathBuf,
    },
}

/// How often a worker polls its status. Often enough for the measurements.
const STATUS_INTERVAL: Duration = Duration::from_millis(5);

/// The options of a poller, `None` being the default, and what else its worker does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    pub(crate) fail_open: Option<Duration>,
    pub(crate) max_staleness: Option<Duration>,
    /// By default longer than any test.
    pub(crate) lock_ttl: Duration,
    pub(crate) status_interval: Duration,
    pub(crate) waits_to_begin: bool,
    /// A call may take long.
    pub(crate) is_patient: bool,
    /// The file with the secret key, in place of that of the assignment.
    pub(crate) key_file: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn every(interval: Duration) -> Self {
        let lock_ttl = Duration::from_secs(60);
        Self {
            interval,
            fail_open: None,
            max_staleness: None,
            lock_ttl,
            status_interval: STATUS_INTERVAL,
            waits_to_begin: false,
            is_patient: false,
            key_file: None,
        }
    }

    /// A store that is slow does not make the worker fetch, as it would by default after 1 s: many handshakes at the same
    /// moment take longer on a busy machine.
    pub(crate) fn patient(self) -> Self {
        Self {
            is_patient: true,
            ..self
        }
    }

    /// The worker reads the secret key from a file.
    pub(crate) fn key_file(self, path: &Path) -> Self {
        Self {
            key_file: Some(path.to_owned()),
            ..self
        }
    }

    /// The TTL of the lock, in a store where it has one.
    pub(crate) fn lock_ttl(self, lock_ttl: Duration) -> Self {
        Self { lock_ttl, ..self }
    }

    /// How often its worker polls its status.
    pub(crate) fn status_interval(self, every: Duration) -> Self {
        Self {
            status_interval: every,
            ..self
        }
    }

    /// The worker waits for [`Order::Begin`], so that many begin at the same moment.
    pub(crate) fn waits_to_begin(self) -> Self {
        Self {
            waits_to_begin: true,
            ..self
        }
    }

    pub(crate) fn fail_open(self, interval: Duration) -> Self {
        Self {
            fail_open: Some(interval),
            ..self
        }
    }

    pub(crate) fn max_staleness(self, age: Duration) -> Self {
        Self {
            max_staleness: Some(age),
            ..self
        }
    }
}

/// Runs as a worker if the environment asks for it.
pub(crate) fn work() {
    let Ok(assignment) = env::var(ASSIGNMENT) else {
        return;
    };
    // Ends the line that the test harness has begun.
    println!();
    let assignment: Assignment = serde_json::from_str(&assignment).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(poll(assignment));
    // A call that still hangs must not keep the process.
    runtime.shutdown_background();
}

async fn poll(assignment: Assignment) {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let mut orders = orders();
    let settings = assignment.settings.clone();
    if settings.waits_to_begin {
        Report::print(Event::Prepared);
        if orders.recv().await != Some(Order::Begin) {
            return;
        }
    }
    let reporter = StatusReporter::of(builder(assignment).start().unwrap());
    Report::print(Event::Started);
    tokio::spawn(reporter.clone().report_changes());
    tokio::spawn(
        reporter
            .clone()
            .report_status_every(settings.status_interval),
    );
    loop {
        tokio::select! {
            _ = terminated.recv() => {
                let error = reporter.poller.shutdown().await.err().map(|error| error.to_string());
                return Report::print(Event::ShutDown { error });
            }
            order = orders.recv() => match order {
                None => return,
                Some(Order::Begin) => {}
                Some(Order::Count) => {
                    let counters = reporter.poller.status().counters;
                    reporter.answer(Event::Counted { loads: counters.loads, requests: counters.requests });
                }
                Some(Order::Refresh) => {
                    let reporter = reporter.clone();
                    tokio::spawn(async move {
                        let error = reporter.poller.refresh().await.err().map(|error| error.to_string());
                        reporter.answer(Event::Refreshed { error });
                    });
                }
            },
        }
    }
}

fn builder(assignment: Assignment) -> FlagDefinitionPollerBuilder {
    let settings = assignment.settings;
    let api = PostHogApi::builder()
        .host(assignment.api)
        .project_key(ApiStub::PROJECT_KEY)
        .user_agent_suffix(assignment.name);
    let api = match settings.key_file {
        Some(path) => api.secret_key_file(path),
        None => api.secret_key(assignment.secret_key),
    };
    let api = api.build().unwrap();
    let mut builder = FlagDefinitionPoller::builder()
        .source(api)
        .poll_interval(settings.interval);
    if let Some(interval) = settings.fail_open {
        builder = builder.fail_open_interval(interval);
    }
    if let Some(age) = settings.max_staleness {
        builder = builder.max_staleness(age);
    }
    if settings.is_patient {
        builder = builder
            .hedge_after(None)
            .provider_timeout(Duration::from_secs(20));
    }
    match assignment.store {
        Store::File { folder } => builder.flag_definition_cache_provider(file(folder)),
        Store::Url { url } => {
            builder.flag_definition_cache_provider(ProviderRegistry::default().open(&url).unwrap())
        }
        #[cfg(feature = "redis")]
        Store::Redis { url, lock_ttl } => {
            builder.flag_definition_cache_provider(redis(url, lock_ttl))
        }
        #[cfg(feature = "redis")]
        Store::Tiered {
            url,
            lock_ttl,
            folder,
        } => builder.flag_definition_cache_provider(
            Tiered::new(redis(url, lock_ttl)).fallback(file(folder)),
        ),
        #[cfg(not(feature = "redis"))]
        Store::Redis { .. } | Store::Tiered { .. } => panic!("built without Redis"),
    }
}

fn file(folder: PathBuf) -> FileProvider {
    FileStore::builder(folder, SERVICE)
        .build()
        .unwrap()
        .provider()
}

#[cfg(feature = "redis")]
fn redis(url: String, lock_ttl: Duration) -> RedisProvider {
    let response_timeout = (lock_ttl / 3).min(Duration::from_secs(1));
    RedisStore::builder(url, SERVICE)
        .response_timeout(response_timeout)
        .lock_ttl(lock_ttl)
        .build()
        .unwrap()
        .provider()
}

/// Reports the changes of a poller.
#[derive(Clone)]
struct StatusReporter {
    poller: FlagDefinitionPoller,
    last_reported: Arc<Mutex<Option<(Role, PollerState)>>>,
}

impl StatusReporter {
    fn of(poller: FlagDefinitionPoller) -> Self {
        Self {
            poller,
            last_reported: Arc::default(),
        }
    }

    async fn report_changes(self) {
        let mut changes = self.poller.subscribe();
        let mut ready = false;
        while let Some(change) = changes.next().await {
            let new = change.new.as_ref();
            // Before the change itself, so that a test that has seen the flags knows when the worker was ready.
            if !std::mem::replace(&mut ready, true) {
                Report::print(Event::Ready);
            }
            Report::print(Event::Change {
                flags: new.map(|set| set.len()),
                etag: new.and_then(|set| set.etag()).map(str::to_owned),
                origin: change.origin.map(|origin| origin.as_str().to_owned()),
            });
        }
    }

    async fn report_status_every(self, pause: Duration) {
        let mut ticks = interval(pause);
        loop {
            ticks.tick().await;
            self.report_status();
        }
    }

    /// Reports the status first, so that a test with the answer knows the status at that moment.
    fn answer(&self, answer: Event) {
        self.report_status();
        Report::print(answer);
    }

    fn report_status(&self) {
        let status = self.poller.status();
        let now = (status.role, status.state);
        if self.last_reported.lock().unwrap().replace(now) != Some(now) {
            let role = format!("{:?}", status.role).to_lowercase();
            Report::print(Event::Status {
                role,
                state: status.state.as_str().to_owned(),
            });
        }
    }
}

/// The lines of the standard input.
fn orders() -> UnboundedReceiver<Order> {
    let (sender, orders) = unbounded_channel();
    thread::spawn(move || {
        let orders = stdin()
            .lines()
            .map_while(Result::ok)
            .map(|line| serde_json::from_str(&line).unwrap());
        orders
            .map(|order| sender.send(order))
            .take_while(Result::is_ok)
            .for_each(drop);
    });
    orders
}
