//! A worker process: many pollers on one thread, each configured as in a process of its own.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flagcache_benches::StoreLocation;
use flagcache_core::{FlagDefinitionPoller, FlagDefinitionSource, PostHogApi};
use flagcache_providers::testing::ApiStub;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use crate::peer;
use crate::protocol::{Counts, Kind, Moment, Order, Report, Spec};
use crate::reporting::{OpenProvider, ReportingProvider, send};

/// The service whose workers share a copy.
pub(crate) const SERVICE: &str = "checkout-prod";

pub(crate) fn run(spec: &Spec) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let orders = orders();
        match &spec.kind {
            Kind::Sharing { location, lock_ttl } => {
                share(spec, &StoreLocation::parse(location), *lock_ttl, orders).await
            }
            Kind::Peer => peer::run(spec, orders).await,
        }
    });
}

/// The orders on the standard input. Its end, which comes with the end of the starting process, is an order to stop.
fn orders() -> UnboundedReceiver<Order> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(Order::parse(&line));
        }
        let _ = sender.send(Order::Stop);
    });
    receiver
}

struct Poller {
    poller: FlagDefinitionPoller,
    leads: Arc<AtomicBool>,
}

async fn share(
    spec: &Spec,
    location: &StoreLocation,
    lock_ttl: Duration,
    mut orders: UnboundedReceiver<Order>,
) {
    let api = PostHogApi::builder()
        .host(&spec.api)
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    let api: Arc<dyn FlagDefinitionSource> = Arc::new(api.build().unwrap());
    let mut pollers = Vec::new();
    for number in spec.first..spec.first + spec.pollers {
        pollers.push(start(spec, number, location, lock_ttl, Arc::clone(&api)));
        sleep(spec.pause).await;
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Refresh => {
                for poller in pollers
                    .iter()
                    .filter(|poller| poller.leads.load(Ordering::Relaxed))
                {
                    let poller = poller.poller.clone();
                    // The counters include its failure.
                    tokio::spawn(async move { drop(poller.refresh().await) });
                }
            }
            Order::RequestRefresh => {
                for poller in &pollers {
                    let poller = poller.poller.clone();
                    tokio::spawn(async move {
                        let at = Moment::now();
                        poller.request_refresh().await.unwrap();
                        let took = Moment::now().since(at);
                        send(&Report::Requested { at, took });
                    });
                }
            }
            Order::Count => {
                let counts = pollers.iter().map(|poller| poller.poller.status().counters);
                let counts = counts.map(|counts| Counts {
                    loads: counts.loads,
                    faults: counts.provider_faults,
                });
                send(&Report::Counts(
                    counts.reduce(|a, b| a + b).unwrap_or_default(),
                ));
            }
            Order::Stop => break,
        }
    }
    let ends: Vec<_> = pollers
        .into_iter()
        .map(|poller| tokio::spawn(async move { poller.poller.shutdown().await }))
        .collect();
    for end in ends {
        let _ = end.await;
    }
}

fn start(
    spec: &Spec,
    number: usize,
    location: &StoreLocation,
    lock_ttl: Duration,
    api: Arc<dyn FlagDefinitionSource>,
) -> Poller {
    let leads = Arc::new(AtomicBool::new(false));
    let open = {
        let location = location.clone();
        move || location.provider(SERVICE, lock_ttl)
    };
    let provider = open();
    let reads_by = spec.decodes_whole.then(|| Box::new(open) as OpenProvider);
    let poller = FlagDefinitionPoller::builder()
        .shared_source(api)
        .flag_definition_cache_provider(ReportingProvider {
            provider,
            poller: number,
            leads: Arc::clone(&leads),
            reads_by,
        })
        .poll_interval(spec.interval)
        .start()
        .unwrap();
    let mut changes = poller.subscribe();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let etag = change
                .new
                .as_ref()
                .and_then(|set| set.etag().map(str::to_owned));
            send(&Report::Has {
                poller: number,
                etag,
                at: Moment::now(),
            });
        }
    });
    Poller { poller, leads }
}
