//! What workers expect of a store on any kind of server.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FlagDefinitionCacheProvider};
use flagcache_providers::redis::RedisStoreBuilder;
use redis::{ConnectionLike, cmd};

use crate::worker::{Worker, set};

const SECOND: Duration = Duration::from_secs(1);

/// One leads, the others read; changes are pushed; what is lost comes back; a late write changes nothing; a leader that
/// shuts down is replaced at once. `primary` is a connection to whichever server has the keys.
pub(crate) async fn works(
    builder: &RedisStoreBuilder,
    service: &str,
    primary: &mut dyn ConnectionLike,
) {
    let data = format!("posthog:flags:{service}");
    let (leader, follower) = (Worker::with(builder.clone()), Worker::with(builder.clone()));
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    leader.quiet().await;
    follower.quiet().await;

    leader.lead_with(&set(2)).await;
    assert!(follower.noticed(2 * SECOND).await, "a change is pushed");
    let before = whole_reads(primary);
    assert_eq!(follower.follow().await, Some(set(2)));
    assert_eq!(
        whole_reads(primary) - before,
        1,
        "a change is read as a patch, and the decision reads the lock"
    );
    assert!(
        follower.report().confirmed_ago.is_some(),
        "the time of the confirmation travels"
    );

    cmd("DEL").arg(&data).exec(primary).unwrap();
    assert!(leader.leads().await);
    leader.failed(FetchErrorKind::Server, &set(2)).await;
    assert!(follower.noticed(2 * SECOND).await);
    assert_eq!(
        follower.follow().await,
        Some(set(2)),
        "what was lost is put back"
    );

    assert!(leader.leads().await);
    cmd("SET")
        .arg(format!("{data}:lock"))
        .arg("flagcache:another:1")
        .arg("PX")
        .arg(300)
        .exec(primary)
        .unwrap();
    leader.publish(&set(3)).await.unwrap_err();
    assert_eq!(
        follower.provider.peek_flag_definitions().await.unwrap(),
        Some(set(2)),
        "a late write changes nothing"
    );

    flagcache_test_support::eventually("the other lock ends", 2 * SECOND, async || {
        leader.leads().await
    })
    .await;
    follower.quiet().await;
    leader.shutdown().await;
    assert!(follower.noticed(2 * SECOND).await, "a release is pushed");
    assert!(follower.leads().await);
    follower.shutdown().await;
}

/// How often the server has run `GET`.
fn whole_reads(primary: &mut dyn ConnectionLike) -> u64 {
    let stats: String = cmd("INFO").arg("commandstats").query(primary).unwrap();
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_get:calls=")?.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// Two changes, from number `n` on, reach the follower at once.
pub(crate) async fn changes_travel(leader: &Worker, follower: &Worker, n: u64) {
    for n in [n, n + 1] {
        follower.quiet().await;
        leader.lead_with(&set(n)).await;
        assert!(follower.noticed(2 * SECOND).await, "a change is pushed");
        assert_eq!(follower.follow().await, Some(set(n)));
    }
}
