//! `RedisInspector`: direct access to a store's keys and its server's counters.

use std::time::Duration;

use flagcache_core::ProviderErrorKind;
use flagcache_providers::testing::RedisInspector;
use flagcache_test_support::RedisServer;

use crate::worker::{CHANNEL, DATA, Worker, builder, set};

#[tokio::test]
async fn a_tick_is_one_script_and_the_keys_can_be_seen_and_removed() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    let inspector = RedisInspector::of(&Worker::of(&server).provider);
    assert!(!inspector.has_keys().await.unwrap());
    assert_eq!(inspector.copy().await.unwrap(), None);

    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    follower.quiet().await;
    let before = inspector.counters().await.unwrap();
    for _ in 0..10 {
        assert_eq!(follower.follow().await, Some(set(1)));
    }
    let counted = inspector.counters().await.unwrap().since(before);
    // The scripts' own commands are counted, and the question itself.
    assert_eq!((counted.messages, counted.scripts), (11, 10), "{counted:?}");
    assert!(
        counted.commands > 10 * 5 && counted.bytes > 10 * 100,
        "{counted:?}"
    );
    assert!(counted.clients >= 3, "{counted:?}");

    assert!(inspector.has_keys().await.unwrap());
    inspector.set_copy(b"no set").await.unwrap();
    assert_eq!(
        inspector.copy().await.unwrap().as_deref(),
        Some(b"no set".as_slice())
    );
    inspector.remove_keys().await.unwrap();
    assert_eq!(server.run::<Vec<String>>("KEYS *"), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_without_info_gets_an_error_that_says_what_to_grant() {
    let server = RedisServer::start();
    server.run::<()>(&format!(
        "ACL SETUSER app on >pass ~{DATA}* &{CHANNEL} +@all -info"
    ));
    let worker = Worker::with(
        builder(&server)
            .username("app")
            .password("pass")
            .response_timeout(Duration::from_secs(3))
            .lock_ttl(Duration::from_secs(9)),
    );
    let error = RedisInspector::of(&worker.provider)
        .counters()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    assert!(
        error.to_string().contains("lacks the permission for info"),
        "{error}"
    );
}
