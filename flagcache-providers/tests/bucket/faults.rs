//! Answers that are lost, and stores that cannot do what is needed.

use std::time::{Duration, Instant};

use flagcache_core::ProviderErrorKind;
use flagcache_providers::BucketConfigError;
use object_store::Error;

use crate::recorder::{PutFault, Recorder, Versions, broken};
use crate::sets::fetched;
use crate::worker::{Worker, chain};

const FAULTS: [PutFault; 3] = [
    PutFault::AnsweredToTheSecondAttempt,
    PutFault::AnswerLost,
    PutFault::Hangs,
];

/// The first put of a leader acquires the leadership, the second one stores a copy, the third one makes it current.
#[tokio::test(start_paused = true)]
async fn b11_82_a_write_whose_answer_was_lost_counts_as_written() {
    for versions in [Versions::Unique, Versions::Hash, Versions::Generation] {
        for fault in FAULTS {
            for put in 0..3 {
                let objects = Recorder::with_versions(versions);
                let (leader, follower) =
                    (Worker::over(objects.store()), Worker::over(objects.store()));
                objects.fails_a_put(put, fault);
                let context = format!("{versions:?}, {fault:?}, put {put}");
                assert!(leader.leads().await, "{context}");
                let data = fetched("beta", "\"1\"", 0);
                let published = leader.publishes(&data).await;
                assert!(objects.has_failed_a_put(), "{context}");
                if put == 1 && fault != PutFault::AnsweredToTheSecondAttempt {
                    // A slot's write that failed is tried again by the next load.
                    assert!(published.is_err(), "{context}");
                    assert!(leader.leads().await, "{context}");
                    leader.publishes(&data).await.unwrap();
                } else {
                    published.unwrap_or_else(|error| panic!("{context}: {}", chain(&error)));
                }
                assert!(!follower.leads().await, "{context}");
                let read = follower.reads().await;
                assert!(
                    read.is_some_and(|read| read.same_content(&data)),
                    "{context}"
                );
                assert!(leader.leads().await, "{context}");
            }
        }
    }
}

/// A worker that does not lead puts its copy where there is none.
#[tokio::test(start_paused = true)]
async fn a_created_copy_whose_answer_was_lost_counts_as_written() {
    for put in 0..2 {
        let objects = Recorder::default();
        let worker = Worker::over(objects.store());
        objects.fails_a_put(put, PutFault::AnsweredToTheSecondAttempt);
        let data = fetched("beta", "\"1\"", 0);
        worker.publishes(&data).await.unwrap();
        assert!(objects.has_failed_a_put());
        let other = Worker::over(objects.store());
        other.leads().await;
        assert!(other.reads().await.unwrap().same_content(&data));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_response_timeout() {
    let objects = Recorder::default();
    let worker = Worker::over(objects.store().response_timeout(Duration::from_millis(300)));
    assert!(worker.leads().await);
    objects.fails_a_put(0, PutFault::Hangs);
    let begin = tokio::time::Instant::now();
    let error = worker.publishes(&fetched("beta", "\"1\"", 0)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Timeout, "{error}");
    assert!(chain(&error).contains("within 300ms"), "{}", chain(&error));
    assert_eq!(begin.elapsed(), Duration::from_millis(300));
}

#[tokio::test]
async fn what_the_store_refuses_is_said_with_its_remedy() {
    fn denied() -> Error {
        Error::PermissionDenied {
            path: "head".into(),
            source: "403 Forbidden: AccessDenied".into(),
        }
    }
    fn absent() -> Error {
        Error::NotFound {
            path: "head".into(),
            source: "404 Not Found: <Code>NoSuchBucket</Code>".into(),
        }
    }
    fn unable() -> Error {
        Error::NotImplemented {
            operation: "PutMode::Update".into(),
            implementer: "Recorder".into(),
        }
    }
    type Case = (fn() -> Error, ProviderErrorKind, [&'static str; 2]);
    let cases: [Case; 4] = [
        (
            denied,
            ProviderErrorKind::PermissionDenied,
            ["s3:ListBucket", "AccessDenied"],
        ),
        (
            absent,
            ProviderErrorKind::Other,
            ["create it", "NoSuchBucket"],
        ),
        (
            unable,
            ProviderErrorKind::Other,
            ["does not support conditional writes", "PutMode::Update"],
        ),
        (
            broken,
            ProviderErrorKind::Unavailable,
            ["can be reached", "the connection broke"],
        ),
    ];
    for (failure, kind, parts) in cases {
        let objects = Recorder::default();
        let (fresh, leader) = (Worker::over(objects.store()), Worker::over(objects.store()));
        assert!(leader.leads().await);
        let begin = Instant::now();
        objects.set_failure(Some(failure));
        for error in [
            fresh.tries_to_lead().await.unwrap_err(),
            leader.tries_to_lead().await.unwrap_err(),
            leader
                .publishes(&fetched("beta", "\"1\"", 0))
                .await
                .unwrap_err(),
            fresh.tries_to_read().await.unwrap_err(),
        ] {
            let chain = chain(&error);
            assert_eq!(error.kind(), kind, "{chain}");
            assert!(parts.iter().all(|part| chain.contains(part)), "{chain}");
            assert!(chain.contains("the object store at Recorder"), "{chain}");
        }
        assert!(begin.elapsed() < Duration::from_secs(1));
        objects.set_failure(None);
        assert!(leader.leads().await);
    }
}

#[tokio::test]
async fn a_store_without_conditional_writes_or_versions_is_refused() {
    let files = Recorder::default();
    files.set_name("LocalFileSystem(file:///var/lib/flags/)");
    let error = files.store().build().unwrap_err();
    assert!(matches!(error, BucketConfigError::NoConditionalPuts(_)));
    assert!(error.to_string().contains("use `FileStore`"), "{error}");

    let careless = Recorder::with_versions(Versions::Ignored);
    let error = Worker::over(careless.store()).tries_to_lead().await;
    let text = chain(&error.unwrap_err());
    assert!(text.contains("ignored the condition"), "{text}");
    assert!(
        text.contains("does not support conditional writes"),
        "{text}"
    );

    let blind = Recorder::with_versions(Versions::None);
    let error = Worker::over(blind.store())
        .tries_to_lead()
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("no ETag or version"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn objects_that_are_deleted_come_back() {
    let objects = Recorder::with_versions(Versions::Hash);
    let (leader, follower) = (Worker::over(objects.store()), Worker::over(objects.store()));
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await);
    leader.publishes(&data).await.unwrap();
    follower.leads().await;
    follower.reads().await.unwrap();
    for name in ["head", "b"] {
        let path = format!("posthog/flags/checkout/{name}");
        object_store::ObjectStoreExt::delete(&objects, &path.into())
            .await
            .unwrap();
        assert!(leader.leads().await, "{name}");
        leader.publishes(&data).await.unwrap();
        follower.leads().await;
        assert!(
            follower.reads().await.unwrap().same_content(&data),
            "{name}"
        );
    }
}
