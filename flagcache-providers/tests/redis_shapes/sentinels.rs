//! `redis+sentinel`.

use std::time::{Duration, Instant};

use flagcache_core::{FetchOutcome, FlagDefinitionCacheProvider, ProviderErrorKind};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{RedisSentinels, RedisServer, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::worker::{SERVICE, Worker, set};
use crate::{recovery, sharing};

const SECOND: Duration = Duration::from_secs(1);

/// A store that knows the Sentinels.
pub(crate) fn builder(watched: &RedisSentinels) -> RedisStoreBuilder {
    RedisStore::builder(watched.url(RedisSentinels::PRIMARY), SERVICE)
}

#[tokio::test]
async fn b8_63_the_copy_is_restored_after_a_failover_that_lost_the_last_write() {
    let mut watched = RedisSentinels::start();
    sharing::works(&builder(&watched), SERVICE, &mut watched.primary.admin()).await;

    // The lock outlives the failover: this is about the copy.
    let lasting = builder(&watched).lock_ttl(60 * SECOND);
    let (leader, follower) = (Worker::with(lasting.clone()), Worker::with(lasting));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    eventually("the replica has it", 5 * SECOND, async || {
        watched
            .replica
            .run::<u8>(&format!("EXISTS {}", crate::worker::DATA))
            == 1
    })
    .await;
    leader.quiet().await;
    follower.quiet().await;

    // What is written while the replica is cut off is lost with the primary.
    watched.replica.hang();
    watched.primary.run::<u8>("CLIENT KILL TYPE replica");
    leader.lead_with(&set(2)).await;
    assert_eq!(follower.follow().await, Some(set(2)));
    watched.primary.kill();
    let lost = Instant::now();
    watched.replica.resume();

    let recovery = recovery::of(&leader, &follower, &set(2), lost).await;
    println!("Sentinel (down after 1 s): {recovery}");
    sharing::changes_travel(&leader, &follower, 3).await;

    // The old primary comes back, alone and empty at first; the Sentinels know better.
    watched.primary.start_again();
    let late = Worker::with(builder(&watched));
    assert_eq!(late.follow().await, Some(set(4)));

    // One Sentinel is enough to find the primary.
    watched.kill_sentinel(0);
    watched.kill_sentinel(1);
    let late = Worker::with(builder(&watched));
    assert_eq!(late.follow().await, Some(set(4)));
    watched.kill_sentinel(2);
    let error = Worker::with(builder(&watched)).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(
        error.to_string().contains("(Sentinel 127.0.0.1:"),
        "{error}"
    );
    assert!(
        error.to_string().ends_with("no server listens there"),
        "{error}"
    );
    sharing::changes_travel(&leader, &follower, 5).await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_while_it_runs_is_left() {
    let watched = RedisSentinels::start_with(1, "", None);
    let worker = Worker::with(builder(&watched));
    worker.lead_with(&set(1)).await;
    eventually("the replica has it", 5 * SECOND, async || {
        watched
            .replica
            .run::<u8>(&format!("EXISTS {}", crate::worker::DATA))
            == 1
    })
    .await;
    let promoted = Worker::with(RedisStore::builder(watched.replica.url(), SERVICE));
    watched.fail_over();
    let begun = Instant::now();
    eventually("the replica is promoted", 20 * SECOND, async || {
        // The Sentinel closes all connections of the server that it promotes, perhaps this one too.
        watched
            .replica
            .try_run::<String>(&["INFO", "replication"])
            .is_ok_and(|info| info.contains("role:master"))
    })
    .await;
    // Until the Sentinel demotes the old primary, that goes on taking writes, which are lost.
    eventually(
        "the new primary has what the leader serves",
        20 * SECOND,
        async || {
            if worker.decide().await.unwrap_or(false) {
                let _ = worker
                    .fetch_without_update(FetchOutcome::unchanged(&set(2)))
                    .await;
            }
            promoted.provider.peek_flag_definitions().await.unwrap() == Some(set(2))
        },
    )
    .await;
    println!(
        "Sentinel (planned failover): the copy was at the new primary after {:.1?}",
        begun.elapsed()
    );
    assert_eq!(Worker::with(builder(&watched)).follow().await, Some(set(2)));
}

#[tokio::test]
async fn a_sentinel_that_names_a_replica_is_passed_over() {
    let watched = RedisSentinels::start_with(1, "", None);
    let old = outdated_sentinel(&watched.replica).await;
    let alone = RedisStore::builder(format!("redis+sentinel://{old}/flags"), SERVICE);
    let error = Worker::with(alone).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    let advice = format!(
        "(127.0.0.1:{}): it is a replica now; the primary will be asked for anew",
        watched.replica.port()
    );
    assert!(error.to_string().ends_with(&advice), "{error}");

    let both = watched.url("flags").replace("://", &format!("://{old},"));
    let worker = Worker::with(RedisStore::builder(both, SERVICE));
    worker.lead_with(&set(1)).await;
    let direct = RedisStore::builder(watched.primary.url(), SERVICE);
    assert_eq!(Worker::with(direct).follow().await, Some(set(1)));
}

#[tokio::test]
async fn a_wrong_name_and_a_missing_password_of_the_sentinels_are_clear_errors() {
    let watched = RedisSentinels::start_with(1, "requirepass s3cret-pa55", None);
    let error = Worker::with(builder(&watched)).decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    assert!(
        error
            .to_string()
            .contains("give them to the builder (`sentinel_username`, `sentinel_password`)"),
        "{error}"
    );
    let wrong = Worker::with(builder(&watched).sentinel_password("s3cret-wrong"));
    let error = wrong.decide().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the Sentinel rejects the user or the password"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("s3cret"));
    Worker::with(builder(&watched).sentinel_password("s3cret-pa55"))
        .leads()
        .await;

    let other = RedisStore::builder(watched.url("other"), SERVICE).sentinel_password("s3cret-pa55");
    let error = Worker::with(other).decide().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it watches no primary of that name; check the path of the URL"),
        "{error}"
    );
}

/// Answers as a Sentinel would that was cut off from the others before they agreed on another primary. Gives its address.
async fn outdated_sentinel(primary: &RedisServer) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let port = primary.port().to_string();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            // One command a connection.
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    address
}
