//! A web service with axum: use it if requests evaluate flags for their users. The definitions come from the copy that all
//! instances of the service share, they are evaluated in the process, and each exposure is captured.
//!
//! ```text
//! cd examples/axum_service
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='file:///var/cache/flagcache?service=shop' cargo run
//!
//! curl 'http://127.0.0.1:3000/checkout?user=ada&plan=pro'
//! curl 'http://127.0.0.1:3000/healthz'
//! curl 'http://127.0.0.1:3000/metrics'
//! xdg-open 'http://127.0.0.1:3000/status'
//! ```
//!
//! With `WEBHOOK_SECRET` set, `POST /flags-changed` with `Authorization: Bearer <secret>` refreshes the whole fleet at once:
//! <https://github.com/flagcache/flagcache/blob/main/docs/guide/change-now.md>. `POLL_SECONDS` (30) can then be long.
//!
//! `ADDRESS` is `127.0.0.1:3000` and `POSTHOG_HOST` `https://us.i.posthog.com` unless set. After SIGTERM or Ctrl-C it
//! answers the requests in flight, sends the events, and releases the lock, so that another instance leads at once.
//!
//! | file | contents |
//! |---|---|
//! | `main.rs` | start, and the order of the shutdown |
//! | `routes.rs` | a request that depends on a flag |
//! | `health.rs` | `/healthz` |
//! | `status_page.rs` | `/status`, a page for people |
//! | `webhook.rs` | `POST /flags-changed`, for PostHog to call when a flag has changed |
//! | `stop.rs` | SIGTERM |

mod health;
mod routes;
mod status_page;
mod stop;
mod webhook;

use std::future::IntoFuture;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use flagcache::{FlagDefinitionPoller, LocalEvaluation, PostHogApi, ProviderRegistry};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use posthog_rs::{Client, ClientOptionsBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use stop::Stop;
use webhook::Webhook;

/// How long a request in flight may take during shutdown.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last events may take. Together with the requests it fits into the 30 s of Kubernetes.
const EVENTS_LIMIT: Duration = Duration::from_secs(5);

/// How many pairs of flag and value `/metrics` names.
const MAX_SERIES: usize = 1000;

/// The state that the handlers share.
struct Service {
    poller: FlagDefinitionPoller,
    flags: LocalEvaluation,
    client: Client,
    metrics: PrometheusHandle,
    started: Instant,
    webhook: Option<Webhook>,
}

/// Starts the poller, even while the store and PostHog are down.
fn poller() -> anyhow::Result<FlagDefinitionPoller> {
    let url = std::env::var("FLAGCACHE_URL")
        .context("set FLAGCACHE_URL, for example to file:///folder?service=name")?;
    let store = ProviderRegistry::default().open(&url)?;
    let interval = match std::env::var("POLL_SECONDS") {
        Ok(seconds) => seconds
            .parse()
            .context("POLL_SECONDS is not a number of seconds")?,
        Err(_) => 30,
    };
    Ok(FlagDefinitionPoller::builder()
        .source(PostHogApi::from_env()?)
        .flag_definition_cache_provider(store)
        .poll_interval(Duration::from_secs(interval))
        .start()?)
}

/// The client that sends the events. It gets no secret key: with one it would poll for definitions itself.
async fn client() -> anyhow::Result<Client> {
    let mut options = ClientOptionsBuilder::default();
    options
        .api_key(std::env::var("POSTHOG_PROJECT_KEY").context("set POSTHOG_PROJECT_KEY (phc_…)")?);
    if let Ok(host) = std::env::var("POSTHOG_HOST") {
        options.host(host);
    }
    Ok(posthog_rs::client(options.build()?).await)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // Before the poller, so that its first load is counted.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    // Before everything that shuts down in order.
    let stop = Stop::listen()?;

    let webhook = Webhook::from_env()?;
    let poller = poller()?;
    let client = client().await?;
    // Counts the evaluations by flag and value, for at most this many pairs.
    let flags = LocalEvaluation::builder(&poller)
        .count_evaluations(MAX_SERIES)
        .attach();
    let service = Arc::new(Service {
        poller,
        flags,
        client,
        metrics,
        started: Instant::now(),
        webhook,
    });

    // It listens before there are flags: until then `/healthz` keeps requests away, and a request that comes anyway gets the
    // answer without flags.
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, routes::router(Arc::clone(&service)), stop).await?;

    // No request can use them any more. Neither failure is a failure of the service.
    let (ended, sent) = tokio::join!(
        service.poller.shutdown(),
        timeout(EVENTS_LIMIT, service.client.shutdown())
    );
    if let Err(error) = ended {
        tracing::warn!(%error, "the poller did not end in order");
    }
    if sent.is_err() {
        tracing::warn!("the last events could not be sent within {EVENTS_LIMIT:?}");
    }
    Ok(())
}

/// Serves until the signal to stop, and then completes the requests in flight.
async fn serve(listener: TcpListener, routes: Router, stop: Stop) -> anyhow::Result<()> {
    let (begin_to_end, ended) = oneshot::channel::<()>();
    let served = axum::serve(listener, routes).with_graceful_shutdown(async {
        // An error means that the sender is gone, which has the same effect.
        let _ = ended.await;
    });
    let mut served = pin!(served.into_future());
    tokio::select! {
        ended = &mut served => return Ok(ended?),
        () = stop.asked() => drop(begin_to_end),
    }
    match timeout(REQUEST_TIMEOUT, served).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!("requests were under way after {REQUEST_TIMEOUT:?}; they are cut");
            Ok(())
        }
    }
}
