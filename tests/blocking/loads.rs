//! Loads on demand, and many threads at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flagcache::blocking::{BlockingError, FlagDefinitionPoller};
use flagcache::{
    FlagDefinitionCacheData, MemoryStore, NotReadyError, PollerState, RefreshError, StartError,
    flag_cache_provider,
};
use flagcache_providers::testing::{
    Answer, ApiReply, Definitions, Latch, ProviderMethod, ScriptedProvider,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{ELSEWHERE, LIMIT, api, flags_of, millis, stub, until, worker};

#[test]
fn manual_mode_loads_on_demand_alone() {
    let (stub, store) = (stub(5), MemoryStore::new());
    let flags = worker(&stub)
        .flag_definition_cache_provider(store.provider())
        .manual()
        .start()
        .unwrap();
    assert_eq!(flags_of(&flags), None);
    for _ in 0..3 {
        flags.refresh_if_older_than(LIMIT).unwrap();
        assert_eq!((flags_of(&flags), stub.stats().requests), (Some(5), 1));
    }
    flags.refresh_if_older_than(Duration::ZERO).unwrap();
    assert_eq!(
        (flags.status().counters.loads, stub.stats().requests),
        (2, 2)
    );

    stub.always(ApiReply::status(503));
    assert!(matches!(
        flags.refresh(),
        Err(BlockingError::Failed(RefreshError::Failed { .. }))
    ));
    assert_eq!(
        flags_of(&flags),
        Some(5),
        "the flags of the load before go on serving"
    );
    flags.shutdown().unwrap();
    assert!(matches!(
        flags.refresh(),
        Err(BlockingError::Failed(RefreshError::Stopped))
    ));
}

#[test]
fn b12_84_a_request_of_a_follower_reaches_the_leader() {
    let (stub, store) = (stub(5), MemoryStore::new());
    let start = || {
        let worker = worker(&stub)
            .flag_definition_cache_provider(store.provider())
            .poll_interval(Duration::from_secs(600))
            .start()
            .unwrap();
        worker.wait_ready(LIMIT).unwrap();
        worker
    };
    let (leader, follower) = (start(), start());
    stub.set_definitions(Definitions::realistic(7, 1));
    follower.request_refresh().unwrap();
    until("both workers have the change", || {
        [&leader, &follower].map(flags_of) == [Some(7), Some(7)]
    });
    assert_eq!(stub.stats().ok, 2, "the leader fetched it, once");

    follower.shutdown().unwrap();
    assert!(matches!(
        follower.request_refresh(),
        Err(BlockingError::Failed(RefreshError::Stopped))
    ));
}

/// On threads of their own, so that one is seen in the middle of what the other does.
#[test]
fn a_worker_that_is_ready_says_so() {
    let stub = stub(5);
    for _ in 0..50 {
        let flags = worker(&stub).start().unwrap();
        flags.wait_ready(LIMIT).unwrap();
        let status = flags.status();
        assert_eq!(
            (status.state, status.flags, status.version),
            (PollerState::Ready, Some(5), 1)
        );
    }
}

#[test]
fn a_wait_without_flags_ends_at_its_timeout_and_with_the_poller() {
    let provider = ScriptedProvider::new();
    let reader = || {
        FlagDefinitionPoller::builder()
            .flag_definition_cache_provider(provider.clone())
            .start()
            .unwrap()
    };
    let flags = reader();
    let limit = millis(20);
    let not_ready = flags.wait_ready(limit).unwrap_err();
    assert!(
        matches!(not_ready, BlockingError::Failed(NotReadyError::NothingStored { timeout: given }) if given == limit),
        "{not_ready:?}"
    );
    thread::scope(|scope| {
        let waiting = scope.spawn(|| flags.wait_ready(Duration::MAX));
        thread::sleep(millis(20));
        flags.shutdown().unwrap();
        assert!(matches!(
            waiting.join().unwrap(),
            Err(BlockingError::Failed(NotReadyError::Stopped))
        ));
    });
    assert!(matches!(
        flags.wait_ready(LIMIT),
        Err(BlockingError::Failed(NotReadyError::Stopped))
    ));
}

#[test]
fn many_threads_share_one_load() {
    let gate = Latch::new();
    let provider = ScriptedProvider::new();
    let stub = stub(5);
    let flags = worker(&stub)
        .flag_definition_cache_provider(provider.clone())
        .manual()
        .provider_timeout(LIMIT);
    let flags = flags.start().unwrap();
    flags.refresh().unwrap();
    provider
        .decision()
        .then(Answer::value(true).once_open(&gate));
    thread::scope(|scope| {
        let first = scope.spawn(|| flags.refresh());
        ELSEWHERE.block_on(provider.called(ProviderMethod::ShouldFetch, 2));
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| flags.refresh())).collect();
        // They are on their way; whether before or after the gate opens, each has a load of its own or shares one.
        thread::sleep(millis(50));
        gate.open();
        first.join().unwrap().unwrap();
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
    flags.shutdown().unwrap();
    provider.assert_contract_kept();
    let loads = flags.status().counters.loads;
    assert!((2..=10).contains(&loads), "{loads}");
}

#[test]
fn many_threads_use_one_handle_at_a_time() {
    let (stub, store) = (stub(5), MemoryStore::new());
    let builder = worker(&stub).poll_interval(millis(10));
    let flags = builder
        .flag_definition_cache_provider(store.provider())
        .start()
        .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..4 {
            let (flags, done) = (flags.clone(), &done);
            scope.spawn(move || {
                flags.wait_ready(LIMIT).unwrap();
                let mut changes = flags.subscribe();
                while !done.load(Ordering::Relaxed) {
                    let set = flags.definitions().expect("once there, always there");
                    assert!(set.flags().count() == set.len(), "a set is whole");
                    match number {
                        0 => flags.refresh().unwrap(),
                        1 => flags.refresh_if_older_than(millis(5)).unwrap(),
                        2 => drop(changes.next_within(millis(1))),
                        _ => assert!(flags.status().flags.is_some()),
                    }
                }
            });
        }
        for count in 6..20 {
            stub.set_definitions(Definitions::realistic(count, 1));
            until("the new set is there", || flags_of(&flags) == Some(count));
        }
        done.store(true, Ordering::Relaxed);
    });
    let ends: Vec<_> = (0..4)
        .map(|_| flags.clone())
        .map(|flags| thread::spawn(move || flags.shutdown()))
        .collect();
    for end in ends {
        end.join().unwrap().unwrap();
    }
}

/// What users write for the asynchronous handle: sockets, timers and tasks of tokio.
struct Remote {
    address: std::net::SocketAddr,
}

#[flag_cache_provider]
impl Remote {
    async fn should_fetch_flag_definitions(&self) -> std::io::Result<bool> {
        Ok(false)
    }

    async fn get_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, Box<dyn std::error::Error + Send + Sync>> {
        tokio::time::sleep(millis(1)).await;
        let mut connection = TcpStream::connect(self.address).await?;
        let json = tokio::spawn(async move {
            let mut json = Vec::new();
            connection.read_to_end(&mut json).await.map(|_| json)
        });
        Ok(Some(FlagDefinitionCacheData::from_json(json.await??)?))
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

#[test]
fn a_provider_may_use_all_of_tokio() {
    let listener = ELSEWHERE
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = ELSEWHERE.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            connection
                .write_all(br#"{"flags":[{"key":"remote"}]}"#)
                .await
                .unwrap();
        }
    });
    let flags = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(Remote { address })
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    assert!(flags.definitions().unwrap().flag("remote").is_some());
    flags.shutdown().unwrap();
    server.abort();
}

#[test]
fn a_shared_source_outlives_the_runtime_that_it_was_connected_on() {
    let stub = stub(5);
    let source = Arc::new(api(&stub));
    let start = || {
        FlagDefinitionPoller::builder()
            .shared_source(source.clone())
            .manual()
            .start()
            .unwrap()
    };
    let second = start();
    for _ in 0..5 {
        let first = start();
        first.refresh().unwrap();
        first.shutdown().unwrap();
        second.refresh().unwrap();
    }
    assert_eq!(
        (second.status().counters.requests, stub.stats().requests),
        (5, 10)
    );
    second.shutdown().unwrap();
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    assert_eq!(
        FlagDefinitionPoller::builder().start().unwrap_err(),
        StartError::NothingToLoadFrom
    );
}
