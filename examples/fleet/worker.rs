//! One worker process: a poller, a loop that uses the flags, and reports to the parent process.

use std::error::Error;
use std::io::BufRead;
use std::time::Duration;

use flagcache::FlagDefinitionPoller;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Credentials;
use crate::args::WorkerArgs;
use crate::cache::CacheUrl;
use crate::protocol::{Event, Load, Order};
use crate::reporting::{Reporter, ReportingProvider, ReportingSource};
use crate::signals::StopSignal;

/// Between two requests that this worker pretends to serve.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs until a signal or the end of the parent process stops it.
pub(crate) async fn run(args: &WorkerArgs) -> Result<(), Box<dyn Error>> {
    let reporter = Reporter::new();
    let mut stop_signal = StopSignal::listen()?;
    let mut orders = orders()?;

    let credentials = Credentials::from_env()?
        .ok_or("a worker needs the host and the keys in its environment")?;
    let api = credentials.source().user_agent_suffix(&args.name).build()?;
    let mut poller = FlagDefinitionPoller::builder()
        .source(ReportingSource::new(api, reporter.clone()))
        .poll_interval(args.poll_interval);
    if args.waits_for_orders() {
        // What it reads may be large, and a build that is not optimised slow.
        poller = poller.provider_timeout(TIMEOUT);
    }
    if let Some(cache) = CacheUrl::from_env()? {
        poller = poller.flag_definition_cache_provider(ReportingProvider::new(
            cache.provider()?,
            reporter.clone(),
        ));
    }
    let flags = poller.start()?;

    let mut changes = flags.subscribe();
    // The first load may have ended before the subscription began.
    if let Some(set) = flags.definitions() {
        reporter.report(Event::Changed {
            version: flags.status().version,
            flags: Some(set.len()),
        });
    }
    let mut requests = interval(BETWEEN_REQUESTS);
    requests.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut handler = Handler::new(reporter.clone());
    loop {
        tokio::select! {
            _ = requests.tick() => handler.serve(&flags),
            Some(change) = changes.next() => {
                let count = change.new.as_ref().map(|set| set.len());
                reporter.report(Event::Changed { version: change.version, flags: count });
            }
            () = stop_signal.received() => break,
            order = orders.recv() => match order {
                Some(Order::Load) => {
                    let flags = flags.clone();
                    // The status contains its failure.
                    tokio::spawn(async move { flags.refresh().await });
                }
                // The parent process has ended.
                None => break,
            },
        }
    }
    let error = flags.shutdown().await.err().map(|error| error.to_string());
    // What was loaded can still be used: requests under way end well.
    handler.serve(&flags);
    reporter.report(Event::Stopped {
        evaluations: handler.evaluations,
        error,
    });
    Ok(())
}

/// What the worker is there for: it needs the flags at any moment.
struct Handler {
    reporter: Reporter,
    evaluations: u64,
    flags: Option<usize>,
    loads: u64,
    last_error: Option<String>,
}

impl Handler {
    fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            evaluations: 0,
            flags: None,
            loads: 0,
            last_error: None,
        }
    }

    fn serve(&mut self, poller: &FlagDefinitionPoller) {
        let flags = poller.definitions().map(|set| set.len());
        if let Some(before) = self.flags
            && flags.is_none_or(|now| now < before)
        {
            self.reporter.report(Event::Lost { before, now: flags });
        }
        self.flags = flags;
        self.evaluations += u64::from(flags.is_some());

        let status = poller.status();
        let error = status.last_error.as_ref().map(|error| format!("{error:#}"));
        if error != self.last_error {
            self.last_error.clone_from(&error);
            if let Some(error) = error {
                self.reporter.report(Event::ErrorChanged { error });
            }
        }
        if status.counters.loads != self.loads {
            self.loads = status.counters.loads;
            self.reporter.report(Event::Loaded(Load::from(&status)));
        }
    }
}

/// The orders that come by the standard input, until its other end is closed. A thread of its own, because a runtime
/// would wait for a read that never ends.
fn orders() -> std::io::Result<UnboundedReceiver<Order>> {
    let (give, orders) = unbounded_channel();
    std::thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || {
            let lines = std::io::stdin().lock().lines().map_while(Result::ok);
            for order in lines.filter_map(|line| Order::parse(&line)) {
                // Fails if the worker is ending.
                let _ = give.send(order);
            }
        })?;
    Ok(orders)
}
