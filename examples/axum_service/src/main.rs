//! A web service with axum: use it where each request asks what a flag says for its user. The flags come from the copy that
//! all instances of the service share, are evaluated here by PostHog's own evaluator, and each exposure is captured.
//!
//! ```text
//! cd examples/axum_service
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… FLAGCACHE_URL='file:///var/cache/flagcache?service=shop' cargo run
//!
//! curl 'http://127.0.0.1:3000/checkout?user=ada&plan=pro'
//! curl 'http://127.0.0.1:3000/healthz'
//! curl 'http://127.0.0.1:3000/metrics'
//! ```
//!
//! `ADDRESS` is `127.0.0.1:3000` and `POSTHOG_HOST` `https://us.i.posthog.com` unless set. SIGTERM or Ctrl-C ends it: the
//! requests under way are answered, the events sent, and another instance leads at once.
//!
//! | file | what is in it |
//! |---|---|
//! | `main.rs` | what is started, and in which order it ends |
//! | `routes.rs` | a request that a flag decides |
//! | `health.rs` | `/healthz` |
//! | `stop.rs` | SIGTERM |

mod health;
mod routes;
mod stop;

use std::future::IntoFuture;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use flagcache::{FlagDefinitionPoller, LocalEvaluation, PostHogApi, ProviderRegistry};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use posthog_rs::{Client, ClientOptionsBuilder};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use stop::Stop;

/// How long a request under way may still take at the end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last events may take. With the requests' limit it fits into the 30 s that Kubernetes gives.
const EVENTS_LIMIT: Duration = Duration::from_secs(5);

/// What the handlers share.
struct Service {
    poller: FlagDefinitionPoller,
    flags: LocalEvaluation,
    client: Client,
    metrics: PrometheusHandle,
}

/// Flags that stay current. It starts while the store and PostHog are down, too.
fn poller() -> anyhow::Result<FlagDefinitionPoller> {
    let url = std::env::var("FLAGCACHE_URL").context("set FLAGCACHE_URL: file:///folder?service=name, for one")?;
    let store = ProviderRegistry::bundled().open(&url)?;
    Ok(FlagDefinitionPoller::builder().source(PostHogApi::from_env()?).flag_definition_cache_provider(store).start()?)
}

/// The client that sends the events. It gets no secret key: with one it would poll for definitions of its own.
async fn client() -> anyhow::Result<Client> {
    let mut options = ClientOptionsBuilder::default();
    options.api_key(std::env::var("POSTHOG_PROJECT_KEY").context("set POSTHOG_PROJECT_KEY (phc_…)")?);
    if let Ok(host) = std::env::var("POSTHOG_HOST") {
        options.host(host);
    }
    Ok(posthog_rs::client(options.build()?).await)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // Before the poller, so that its first load counts.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    // Before all that is to end in order.
    let stop = Stop::listen()?;

    let poller = poller()?;
    let client = client().await?;
    let flags = LocalEvaluation::attach(&poller);
    let service = Arc::new(Service { poller, flags, client, metrics });

    // It listens before there are flags: `/healthz` keeps the requests away until then, and those that come all the same
    // get what they would get without any.
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, routes::router(Arc::clone(&service)), stop).await?;

    // No request is left that could use them. Neither failure is one of the service.
    let (ended, sent) = tokio::join!(service.poller.shutdown(), timeout(EVENTS_LIMIT, service.client.shutdown()));
    if let Err(error) = ended {
        tracing::warn!(%error, "the poller did not end in order");
    }
    if sent.is_err() {
        tracing::warn!("the last events could not be sent within {EVENTS_LIMIT:?}");
    }
    Ok(())
}

/// Serves until it is told to stop, and then what is under way.
async fn serve(listener: TcpListener, routes: Router, stop: Stop) -> anyhow::Result<()> {
    let (begin_to_end, told) = oneshot::channel::<()>();
    let served = axum::serve(listener, routes).with_graceful_shutdown(async {
        // An error says that nobody will tell, which comes to the same.
        let _ = told.await;
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
