//! The peer: PostHog's own SDK for Rust, which has no shared cache. Each poller polls the API for itself.

use std::time::Duration;

use flagcache_providers::testing::ApiStub;
use posthog_rs::{AsyncFlagPoller, FlagCache, LocalEvaluationConfig};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use crate::protocol::{Counts, Moment, Order, Report, Spec};
use crate::reporting::send;

pub(crate) async fn run(spec: &Spec, mut orders: UnboundedReceiver<Order>) {
    let mut pollers = Vec::new();
    for number in spec.first..spec.first + spec.pollers {
        let config = LocalEvaluationConfig {
            personal_api_key: ApiStub::SECRET_KEY.to_owned(),
            project_api_key: ApiStub::PROJECT_KEY.to_owned(),
            api_host: spec.api.clone(),
            poll_interval: spec.interval,
            request_timeout: Duration::from_secs(15),
        };
        let cache = FlagCache::new();
        let mut poller = AsyncFlagPoller::new(config, cache.clone());
        poller.start().await;
        assert!(!cache.get_all_flags().is_empty(), "the peer has no flags");
        send(&Report::Has {
            poller: number,
            etag: None,
            at: Moment::now(),
        });
        pollers.push(poller);
        sleep(spec.pause).await;
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Refresh | Order::RequestRefresh => {}
            Order::Count => send(&Report::Counts(Counts::default())),
            Order::Stop => return,
        }
    }
}
