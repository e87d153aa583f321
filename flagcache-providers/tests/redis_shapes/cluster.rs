//! `redis+cluster`.

use std::time::{Duration, Instant};

use flagcache_core::{FetchErrorKind, ProviderErrorKind};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::{RedisCluster, RedisServer, eventually};

use crate::failures::{WINDOW, failed, refusal, set_key};
use crate::worker::{Worker, set, sized};
use crate::{recovery, sharing};

const SECOND: Duration = Duration::from_secs(1);
pub(crate) const SERVICE: &str = "{checkout}";
pub(crate) const DATA: &str = "posthog:flags:{checkout}";

/// A store that knows these nodes.
pub(crate) fn builder(cluster: &RedisCluster, seeds: &[usize]) -> RedisStoreBuilder {
    RedisStore::builder(cluster.url(seeds), SERVICE)
}

#[tokio::test]
async fn workers_share_from_whichever_node_they_start_and_follow_the_slot() {
    let cluster = RedisCluster::start();
    let owner = cluster.owner(DATA);
    let (next, last) = ((owner + 1) % 3, (owner + 2) % 3);
    for seeds in [[owner], [next], [last]] {
        sharing::works(
            &builder(&cluster, &seeds),
            SERVICE,
            &mut cluster.nodes[owner].admin(),
        )
        .await;
    }

    let (leader, follower) = (
        Worker::with(builder(&cluster, &[owner])),
        Worker::with(builder(&cluster, &[next, last])),
    );
    for n in [4, 5] {
        leader.lead_with(&set(n)).await;
        assert_eq!(follower.follow().await, Some(set(n)));
    }
    leader.quiet().await;
    follower.quiet().await;

    let slot = cluster.begin_move(DATA, owner, next);
    assert!(leader.leads().await, "the keys are all where they were");
    slot.key(&format!("{DATA}:lock"));
    // Some are here and some are there: no node can run a script on them.
    let error = leader.decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(
        error
            .to_string()
            .contains("the keys are being moved to another node"),
        "{error}"
    );
    slot.key(DATA);
    slot.key(&format!("{DATA}:meta"));
    slot.key(&format!("{DATA}:patches"));
    // All are there, but the slot is not yet.
    assert!(leader.leads().await);
    // It cannot be sent in pieces there.
    let large = sized(6, 2 << 20);
    leader.publish(&large).await.unwrap();
    assert!(
        follower.noticed(2 * SECOND).await,
        "a notification reaches every node"
    );
    assert_eq!(follower.follow().await, Some(large.clone()));
    slot.end();
    assert!(leader.leads().await, "the first call finds the new node");
    assert_eq!(follower.follow().await, Some(large));
    leader.quiet().await;
    follower.quiet().await;
    leader.lead_with(&set(7)).await;
    assert!(
        follower.noticed(2 * SECOND).await,
        "it is subscribed at the new node"
    );
    assert_eq!(follower.follow().await, Some(set(7)));

    // And back, under the workers' feet.
    let slot = cluster.begin_move(DATA, next, owner);
    for suffix in [":lock", "", ":meta", ":patches"] {
        slot.key(&format!("{DATA}{suffix}"));
    }
    slot.end();
    leader.lead_with(&set(8)).await;
    assert_eq!(follower.follow().await, Some(set(8)));
}

#[tokio::test]
async fn b8_61_a_failure_reaches_workers_at_whichever_node() {
    let cluster = RedisCluster::start();
    let [first, second, renewed] = [0, 1, 2].map(|node| Worker::with(builder(&cluster, &[node])));
    for (worker, key) in [
        (&first, "phs_old"),
        (&second, "phs_old"),
        (&renewed, "phs_new"),
    ] {
        set_key(&worker.poller, key);
    }
    first.lead_with(&set(1)).await;
    assert!(first.leads().await);
    first
        .fetch_without_update(failed(Some(&set(1)), refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    assert_eq!(second.follow().await, Some(set(1)));
    assert_eq!(
        second.report().fleet_failure.map(|failure| failure.kind()),
        Some(FetchErrorKind::Unauthorized)
    );
    renewed.lead_with(&set(2)).await;
    assert_eq!(second.follow().await, Some(set(2)));
    assert_eq!(second.report().fleet_failure, None);
}

#[tokio::test]
async fn b8_63_the_copy_is_restored_on_a_promoted_replica() {
    let mut cluster = RedisCluster::start();
    cluster.add_replica(DATA, None);
    let owner = cluster.owner(DATA);
    let others: Vec<_> = (0..3).filter(|&node| node != owner).collect();
    // The lock outlives the failover: this is about the copy. The node that will be lost is the first that the leader
    // knows.
    let lasting = |seeds: &[usize]| Worker::with(builder(&cluster, seeds).lock_ttl(60 * SECOND));
    let leader = lasting(&[owner, others[0], others[1]]);
    let follower = lasting(&others);
    leader.lead_with(&set(1)).await;
    assert_eq!(follower.follow().await, Some(set(1)));
    eventually("the replica has it", 5 * SECOND, async || {
        cluster.nodes[3].run::<u64>("DBSIZE") == 3
    })
    .await;
    leader.quiet().await;
    follower.quiet().await;

    // The last write is lost with the node.
    cluster.nodes[3].hang();
    cluster.nodes[owner].run::<u8>("CLIENT KILL TYPE replica");
    leader.lead_with(&set(2)).await;
    assert_eq!(follower.follow().await, Some(set(2)));
    cluster.nodes[owner].kill();
    let lost = Instant::now();
    cluster.nodes[3].resume();

    let recovery = recovery::of(&leader, &follower, &set(2), lost).await;
    println!("cluster (node timeout 1 s): {recovery}");
    sharing::changes_travel(&leader, &follower, 3).await;

    // One of the nodes that they know is gone, which a new worker need not care about.
    let late = Worker::with(builder(&cluster, &[owner, others[0]]));
    assert_eq!(late.follow().await, Some(set(4)));
}

#[tokio::test]
async fn a_hanging_node_costs_a_fraction_of_the_timeout() {
    let cluster = RedisCluster::start();
    let owner = cluster.owner(DATA);
    let hung = (owner + 1) % 3;
    cluster.nodes[hung].hang();
    let worker = Worker::with(builder(&cluster, &[hung, (owner + 2) % 3]));
    let begun = Instant::now();
    assert!(worker.leads().await);
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    cluster.nodes[hung].resume();
}

#[tokio::test]
async fn a_cluster_without_the_slot_and_one_taken_for_a_single_server_are_clear_errors() {
    let cluster = RedisCluster::start();
    let owner = cluster.owner(DATA);
    let single = |node: usize| RedisStore::builder(cluster.nodes[node].url(), SERVICE);
    let error = Worker::with(single((owner + 1) % 3))
        .decide()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("write redis+cluster:// in place of redis://"),
        "{error}"
    );

    let empty = RedisCluster::node(&[], None);
    let url = format!("redis+cluster://127.0.0.1:{}", empty.port());
    let worker = Worker::with(RedisStore::builder(url, SERVICE));
    let error = worker.decide().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert!(error.to_string().contains("the cluster is down"), "{error}");
    empty.run::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
    eventually(
        "it is served when the cluster is up",
        10 * SECOND,
        async || worker.decide().await.unwrap_or(false),
    )
    .await;

    // A server that is no cluster has all slots.
    let plain = RedisServer::start();
    let url = format!("redis+cluster://127.0.0.1:{}", plain.port());
    assert!(
        Worker::with(RedisStore::builder(url, SERVICE))
            .leads()
            .await
    );
}
