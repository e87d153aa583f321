//! The server is down, hangs, or goes away and comes back.

use std::time::{Duration, Instant};

use flagcache_core::{FetchOutcome, FlagDefinitionCacheProvider, ProviderErrorKind};
use flagcache_providers::redis::RedisStore;
use flagcache_test_support::{RedisServer, eventually};

use crate::worker::{LOCK, SERVICE, Worker, builder, set, short_lived};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn b8_64_a_worker_boots_while_the_server_is_down() {
    let mut server = RedisServer::start();
    server.kill();
    let worker = Worker::of(&server);
    let start = Instant::now();
    let error = worker.decide().await.unwrap_err();
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(
        error.to_string().contains("no server listens there"),
        "{error}"
    );
    worker.read().await.unwrap_err();
    worker.publish(&set(1)).await.unwrap_err();

    server.start_again();
    assert!(
        worker.noticed(4 * SECOND).await,
        "it is notified that the server is back"
    );
    assert!(worker.leads().await);
}

#[tokio::test]
async fn b8_64_every_call_to_a_hanging_server_is_bounded() {
    let server = RedisServer::start();
    let timeout = Duration::from_millis(200);
    let leader = Worker::with(short_lived(&server));
    let follower = Worker::with(short_lived(&server));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    assert!(leader.leads().await);
    server.hang();

    let bounded =
        async |what: &str, call: &dyn Fn() -> futures_util::future::BoxFuture<'static, bool>| {
            let start = Instant::now();
            assert!(call().await, "{what} should fail");
            let took = start.elapsed();
            assert!(
                took < timeout + Duration::from_millis(150),
                "{what} took {took:?}"
            );
        };
    let (leader, follower) = (std::sync::Arc::new(leader), std::sync::Arc::new(follower));
    macro_rules! fails {
        ($worker:ident, $what:literal, |$it:ident| $call:expr) => {
            bounded($what, &|| {
                let $it = std::sync::Arc::clone(&$worker);
                Box::pin(async move { $call.await.is_err() })
            })
            .await;
        };
    }
    fails!(leader, "publish", |it| it.publish(&set(2)));
    fails!(follower, "decide", |it| it.decide());
    fails!(follower, "read", |it| it.read());
    fails!(follower, "stored", |it| it.provider.peek_flag_definitions());
    fails!(follower, "create", |it| it.publish(&set(2)));
    fails!(leader, "decide", |it| it.decide());
    fails!(leader, "shutdown", |it| it.provider.shutdown());
    fails!(follower, "shutdown", |it| it.provider.shutdown());
    server.resume();
}

#[tokio::test]
async fn b8_64_workers_recover_when_a_hung_server_resumes() {
    let server = RedisServer::start();
    let workers = [
        Worker::with(short_lived(&server)),
        Worker::with(short_lived(&server)),
    ];
    workers[0].lead_with(&set(1)).await;
    server.hang();
    let error = workers[1].decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(
        error.to_string().contains("did not answer within 200ms"),
        "{error}"
    );
    tokio::time::sleep(SECOND).await;
    server.resume();
    for worker in &workers {
        worker.quiet().await;
    }
    eventually("both are served again", 5 * SECOND, async || {
        let (one, other) = (workers[0].decide().await, workers[1].decide().await);
        matches!((one, other), (Ok(one), Ok(other)) if one != other)
    })
    .await;
    let mut stored = Vec::new();
    for worker in &workers {
        stored.push(worker.provider.peek_flag_definitions().await.unwrap());
    }
    assert_eq!(stored, [Some(set(1)), Some(set(1))]);
}

#[tokio::test]
async fn b8_64_a_paused_or_sleeping_server_is_handled_as_a_hung_one() {
    let server = RedisServer::start();
    let worker = Worker::with(short_lived(&server));
    worker.lead_with(&set(1)).await;
    server.run::<()>("CLIENT PAUSE 500 ALL");
    let start = Instant::now();
    worker.decide().await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    eventually("it leads again", 3 * SECOND, async || {
        worker.decide().await.unwrap_or(false)
    })
    .await;

    let port = server.port();
    let sleep = std::thread::spawn(move || {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        redis::cmd("DEBUG")
            .arg("SLEEP")
            .arg("0.5")
            .exec(&mut client.get_connection().unwrap())
            .unwrap();
    });
    eventually("the sleep shows", 2 * SECOND, async || {
        worker.decide().await.is_err()
    })
    .await;
    sleep.join().unwrap();
    eventually("it leads again", 3 * SECOND, async || {
        worker.decide().await.unwrap_or(false)
    })
    .await;
    assert_eq!(
        worker.provider.peek_flag_definitions().await.unwrap(),
        Some(set(1))
    );
}

#[tokio::test]
async fn b8_63_the_copy_is_restored_on_a_server_that_restarts_empty() {
    let mut server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    leader.quiet().await;
    follower.quiet().await;
    server.kill();
    server.start_again();
    assert!(
        leader.noticed(4 * SECOND).await,
        "after the reconnect the pollers compare what they hold"
    );
    assert!(leader.leads().await);
    leader.unchanged(&set(1)).await;
    assert!(follower.noticed(4 * SECOND).await);
    assert_eq!(follower.follow().await, Some(set(1)));
}

#[tokio::test]
async fn a_lost_connection_is_opened_and_subscribed_again() {
    let server = RedisServer::start();
    let resp2 = format!("{}?protocol=resp2", server.url());
    for url in [server.url(), resp2] {
        server.run::<()>("FLUSHALL");
        let leader = Worker::with(RedisStore::builder(&url, SERVICE));
        let follower = Worker::with(RedisStore::builder(&url, SERVICE));
        leader.lead_with(&set(1)).await;
        assert_eq!(follower.follow().await, Some(set(1)));
        follower.quiet().await;
        for kind in ["normal", "pubsub"] {
            server.run::<()>(&format!("CLIENT KILL TYPE {kind}"));
        }
        assert!(
            follower.noticed(2 * SECOND).await,
            "a notification may have been missed"
        );
        eventually("subscribed again", 2 * SECOND, async || {
            server.run::<Vec<redis::Value>>(&format!("PUBSUB NUMSUB {}", crate::worker::CHANNEL))[1]
                == redis::Value::Int(2)
        })
        .await;
        follower.quiet().await;
        leader.lead_with(&set(2)).await;
        assert!(follower.noticed(SECOND).await);
        assert_eq!(follower.follow().await, Some(set(2)));
    }
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    leader.lead_with(&set(1)).await;
    server.run::<()>("SCRIPT FLUSH");
    leader.lead_with(&set(2)).await;
    server.run::<()>("SCRIPT FLUSH");
    assert!(leader.leads().await);
    server.run::<()>("SCRIPT FLUSH");
    leader.unchanged(&set(2)).await;
    server.run::<()>("SCRIPT FLUSH");
    leader.shutdown().await;
    assert_eq!(server.run::<i32>(&format!("EXISTS {LOCK}")), 0);
}

#[tokio::test]
async fn a_dropped_call_leaves_the_provider_whole() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    for micros in 0..200 {
        let timeout = Duration::from_micros(micros * 10);
        let _ = tokio::time::timeout(timeout, worker.decide()).await;
        let _ = tokio::time::timeout(timeout, worker.publish(&set(micros))).await;
        let _ = tokio::time::timeout(
            timeout,
            worker.fetch_without_update(FetchOutcome::unchanged(&set(1))),
        )
        .await;
        let _ = tokio::time::timeout(timeout, worker.read()).await;
    }
    worker.lead_with(&set(1_000)).await;
    assert_eq!(Worker::of(&server).follow().await, Some(set(1_000)));
}

#[tokio::test]
async fn a_server_out_of_memory_or_read_only_is_a_clear_error() {
    let server = RedisServer::start();
    let worker = Worker::of(&server);
    worker.lead_with(&set(1)).await;
    server.run::<()>("CONFIG SET maxmemory 1");
    let error = worker.decide().await.unwrap_err();
    assert!(
        error.to_string().contains("out of memory"),
        "{error}: {:?}",
        std::error::Error::source(&error)
    );
    server.run::<()>("CONFIG SET maxmemory 0");
    assert!(worker.leads().await);

    let primary = RedisServer::start();
    server.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let error = eventually_err(&worker).await;
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(
        error.to_string().contains("read-only replica"),
        "{error}: {:?}",
        std::error::Error::source(&error)
    );
    server.run::<()>("REPLICAOF NO ONE");
    eventually("it leads again", 3 * SECOND, async || {
        worker.decide().await.unwrap_or(false)
    })
    .await;
}

async fn eventually_err(worker: &Worker) -> flagcache_core::ProviderError {
    let deadline = Instant::now() + 5 * SECOND;
    loop {
        match worker.decide().await {
            Err(error) => return error,
            Ok(_) => assert!(Instant::now() < deadline, "no error"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn databases_and_unix_sockets_are_reached() {
    let server = RedisServer::start();
    let in_two = Worker::with(RedisStore::builder(format!("{}/2", server.url()), SERVICE));
    in_two.lead_with(&set(1)).await;
    let socket = format!("redis+unix://{}?db=2", server.socket());
    let by_socket = Worker::with(RedisStore::builder(socket, SERVICE));
    assert_eq!(by_socket.follow().await, Some(set(1)));
    assert!(
        Worker::of(&server).leads().await,
        "another database is another service"
    );
}

#[tokio::test]
async fn b5_49_a_store_dropped_in_or_out_of_a_runtime_ends_its_connection() {
    let server = RedisServer::start();
    let connections = || {
        server
            .run::<String>("CLIENT LIST")
            .lines()
            .filter(|line| line.contains("lib-name"))
            .count()
    };
    let before = connections();
    let worker = Worker::of(&server);
    worker.lead_with(&set(1)).await;
    drop(worker);
    eventually("the connection is closed", 2 * SECOND, async || {
        connections() <= before
    })
    .await;

    let server_url = server.url();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let worker = runtime.block_on(async {
            let worker = Worker::with(RedisStore::builder(server_url, SERVICE));
            let _ = worker.decide().await;
            worker
        });
        drop(runtime);
        drop(worker);
    })
    .join()
    .unwrap();
    eventually("the connection is closed", 2 * SECOND, async || {
        connections() <= before
    })
    .await;
}

#[test]
fn a_store_outlives_the_runtime_that_opened_its_connection() {
    let server = RedisServer::start();
    let store = builder(&server).build().unwrap();
    for n in 1..=2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let worker = Worker::on(&store);
            // The connection of the last runtime is gone, which the first exchange may find out.
            eventually("it leads", 3 * SECOND, async || {
                worker.decide().await.unwrap_or(false)
            })
            .await;
            worker.publish(&set(n)).await.unwrap();
            worker.shutdown().await;
        });
    }
}
