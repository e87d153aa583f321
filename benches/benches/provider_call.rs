//! What stands between a poller and a provider's method: the trait's boxed future, the macro's expansion, the guard.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flagcache_benches::{Figure, Section, Table, criterion, measure, ratio_in_turn};
use flagcache_core::macro_support::guarded;
use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError};
use flagcache_derive::flag_cache_provider;
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(2);

/// The same provider twice: by hand, and by the macro.
struct ByHand;

#[async_trait]
impl FlagDefinitionCacheProvider for ByHand {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        Ok(black_box(false))
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(None)
    }

    async fn on_flag_definitions_received(
        &self,
        _data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        Ok(())
    }
}

struct ByMacro;

#[flag_cache_provider(crate = flagcache_core)]
impl ByMacro {
    async fn should_fetch_flag_definitions(&self) -> bool {
        black_box(false)
    }

    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) {}
}

struct BySyncMacro;

#[flag_cache_provider(crate = flagcache_core)]
impl BySyncMacro {
    fn should_fetch_flag_definitions(&self) -> bool {
        black_box(false)
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) {}
}

#[derive(Clone)]
struct ByBlockingMacro;

#[flag_cache_provider(crate = flagcache_core)]
impl ByBlockingMacro {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        black_box(false)
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) {}
}

type Bare = Pin<Box<dyn Future<Output = Result<bool, ProviderError>> + Send>>;

/// The peer. Not inlined, as a call through a trait object is not.
#[inline(never)]
fn bare() -> Bare {
    Box::pin(async { Ok(black_box(false)) })
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dynamic = |provider: Arc<dyn FlagDefinitionCacheProvider>| black_box(provider);
    let [by_hand, by_macro, by_sync, by_blocking] = [
        dynamic(Arc::new(ByHand)),
        dynamic(Arc::new(ByMacro)),
        dynamic(Arc::new(BySyncMacro)),
        dynamic(Arc::new(ByBlockingMacro)),
    ];
    let ways: [(&str, &dyn Fn(u64)); 6] = [
        ("a bare boxed future", &|times| {
            repeat(&runtime, times, bare)
        }),
        ("by hand, with async_trait", &|times| {
            repeat(&runtime, times, || by_hand.should_fetch_flag_definitions())
        }),
        ("by the macro, async fn", &|times| {
            repeat(&runtime, times, || by_macro.should_fetch_flag_definitions())
        }),
        ("by the macro, plain fn", &|times| {
            repeat(&runtime, times, || by_sync.should_fetch_flag_definitions())
        }),
        ("by the macro, blocking fn on its own thread", &|times| {
            repeat(&runtime, times, || {
                by_blocking.should_fetch_flag_definitions()
            });
        }),
        ("by the macro, async fn, through the guard", &|times| {
            repeat(&runtime, times, || async {
                guarded(LIMIT, || by_macro.should_fetch_flag_definitions())
                    .await
                    .unwrap()
            });
        }),
    ];
    let mut criterion = criterion();
    let mut section = Section::new("A provider call");
    section.say(
        "A method that does nothing, called through a trait object. The guard, through which the poller makes each call, adds \
         the time limit and the panic boundary.",
    );
    let mut table = Table::new(
        "a call",
        &["", "median", "spread", "of a bare boxed future"],
    );
    let mut peer: Option<Figure> = None;
    for (way, run) in ways {
        let Some(figure) = measure(&mut criterion, &format!("provider call/{way}"), run) else {
            continue;
        };
        let peer = *peer.get_or_insert(figure);
        let ratio = ratio_in_turn(&peer, ways[0].1, run);
        let [median, spread] = figure.cells();
        table.row([way.to_owned(), median, spread, format!("{ratio:.1} ×")]);
    }
    section.tables.push(table);
    criterion.final_summary();
    section.finish("provider_call");
}

fn repeat<F: Future<Output = Result<bool, ProviderError>>>(
    runtime: &Runtime,
    times: u64,
    call: impl Fn() -> F,
) {
    runtime.block_on(async {
        for _ in 0..times {
            black_box(call().await.unwrap());
        }
    });
}
