//! Servers that are killed, refuse, or lose an answer.

use std::time::{Duration, Instant};

use flagcache_core::{FetchOutcome, ProviderErrorKind};
use flagcache_providers::BucketStore;
use flagcache_test_support::Certificates;
use futures_util::future::join_all;

use crate::emulator::{Emulator, Kind};
use crate::lossy::Lossy;
use crate::sets::fetched;
use crate::worker::{SERVICE, Worker, chain};

const KINDS: [Kind; 2] = [Kind::Moto, Kind::Azurite];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_of_sixteen_cold_workers_one_leads() {
    for kind in KINDS {
        let emulator = Emulator::start(kind);
        let store = || emulator.store().response_timeout(Duration::from_secs(20));
        let workers: Vec<Worker> = (0..16).map(|_| Worker::over(store())).collect();
        let asked = join_all(workers.iter().map(Worker::tries_to_lead)).await;
        let leaders = asked.iter().filter(|answer| matches!(answer, Ok(true)));
        assert_eq!(leaders.count(), 1, "{kind:?}: {asked:?}");
        assert!(asked.iter().all(Result::is_ok), "{kind:?}: {asked:?}");
    }
}

/// The client sends a put again whose connection broke; the second attempt finds the condition broken by the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_put_whose_answer_was_lost_counts_as_written() {
    for kind in KINDS {
        let emulator = Emulator::start(kind);
        let lossy = Lossy::to(emulator.port()).await;
        let store = emulator.store_through("", lossy.port);
        let leader = Worker::over(store.response_timeout(Duration::from_secs(20)));
        let follower = Worker::over(emulator.store());

        lossy.lose_next_answer();
        assert!(leader.leads().await, "{kind:?}");
        assert_eq!(lossy.puts(), 2, "{kind:?}");

        // The slot's put is sent twice, the record's once; then the other way round.
        for number in 1..=2 {
            let data = fetched("beta", &format!("\"{number}\""), 10 - number);
            lossy.lose_next_answer();
            let before = lossy.puts();
            leader.publishes(&data).await.unwrap();
            assert_eq!(lossy.puts() - before, 3, "{kind:?}");
            assert!(!follower.leads().await, "{kind:?}");
            assert_eq!(
                follower.reads().await.unwrap().etag(),
                data.etag(),
                "{kind:?}"
            );
            assert!(leader.leads().await, "{kind:?}");
        }
        lossy.lose_next_answer();
        leader.shuts_down().await;
        assert!(follower.leads().await, "{kind:?}: the release counts too");
    }
}

/// The emulators have forgotten their objects then, so that everything must be put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_82_a_server_that_was_killed_and_started_again_empty_is_filled_again() {
    for kind in KINDS {
        let mut emulator = Emulator::start(kind);
        let store = || emulator.store();
        let (leader, follower) = (Worker::over(store()), Worker::over(store()));
        let data = fetched("beta", "\"1\"", 0);
        assert!(leader.leads_within(Duration::from_secs(30)).await);
        leader.publishes(&data).await.unwrap();
        emulator.kill();
        let begin = Instant::now();
        let error = follower.tries_to_lead().await.unwrap_err();
        let chain = chain(&error);
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{chain}");
        assert!(begin.elapsed() < Duration::from_millis(1_500), "{chain}");
        emulator.start_again();
        assert!(leader.leads_within(Duration::from_secs(30)).await);
        leader.learns(FetchOutcome::unchanged(&data)).await.unwrap();
        follower.leads().await;
        let read = follower.reads().await;
        assert!(read.unwrap().same_content(&data), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_missing_is_an_error_and_not_an_empty_store() {
    for kind in KINDS {
        let emulator = Emulator::start_empty(kind);
        let store = emulator.store().response_timeout(Duration::from_secs(20));
        let worker = Worker::over(store);
        for error in [
            worker.tries_to_lead().await.unwrap_err(),
            worker.tries_to_read().await.unwrap_err(),
        ] {
            let chain = chain(&error);
            assert_eq!(error.kind(), ProviderErrorKind::Other, "{chain}");
            assert!(
                chain.contains("there is no such bucket or container"),
                "{chain}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_an_error_that_shows_no_secret() {
    const SECRET: &str = "aHVudGVyMmh1bnRlcjI=";
    let emulator = Emulator::start(Kind::Azurite);
    let url = format!("{}&account_key={SECRET}", emulator.url("", emulator.port()));
    let store = BucketStore::builder(url, SERVICE).response_timeout(Duration::from_secs(20));
    let error = Worker::over(store).tries_to_lead().await.unwrap_err();
    let chain = chain(&error);
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied, "{chain}");
    assert!(chain.contains("check the credentials"), "{chain}");
    assert!(
        !chain.contains(SECRET) && !format!("{error:?}").contains(SECRET),
        "{chain}"
    );
}

/// A server with a certificate of an unknown root gets no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified() {
    let certificates = Certificates::make();
    for (name, is_trusted) in [("server", true), ("elsewhere", false)] {
        let emulator = Emulator::azurite_with_tls(&certificates, name);
        let url = emulator.url_with_secret("", emulator.port());
        let url = url.replace("http://", "https://");
        let store = || {
            let store = BucketStore::builder(&url, SERVICE);
            store.response_timeout(Duration::from_secs(20))
        };
        let attempt = async |store| {
            let error = Worker::over(store).tries_to_lead().await.unwrap_err();
            chain(&error)
        };
        let unknown = attempt(store()).await;
        assert!(unknown.contains("certificate"), "{unknown}");
        let known = attempt(store().root_certificates(certificates.pem("root.crt"))).await;
        // It answers: there is no bucket.
        assert_eq!(
            known.contains("ContainerNotFound"),
            is_trusted,
            "{name}: {known}"
        );
    }
}
