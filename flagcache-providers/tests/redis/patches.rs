//! Patches beside the copy: a change moves what changed, and whatever is wrong with a patch means the whole copy.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use flagcache_core::{FlagDefinitionCacheData, Patch};
use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};
use flagcache_test_support::RedisServer;
use redis::Commands;

use crate::worker::{DATA, LOCK, PATCHES, SERVICE, Worker, builder, set, short_lived};

const SECOND: Duration = Duration::from_secs(1);

/// Flags with these values, of `size` bytes each, fetched `n` seconds after the others.
fn flags(n: u64, values: &[u64], size: usize) -> FlagDefinitionCacheData {
    keyed(n, (0..).zip(values.iter().copied()), size)
}

/// Flags with these keys and values.
fn keyed(
    n: u64,
    values: impl IntoIterator<Item = (u64, u64)>,
    size: usize,
) -> FlagDefinitionCacheData {
    let mut body = String::from(r#"{"flags":["#);
    for (at, (key, value)) in values.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let filters = "y".repeat(size);
        write!(
            body,
            r#"{comma}{{"key":"flag-{key}","value":{value},"filters":"{filters}"}}"#
        )
        .unwrap();
    }
    body += r#"],"group_type_mapping":{"0":"company"},"cohorts":{}}"#;
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + n);
    let etag = format!("\"v{n}\"");
    FlagDefinitionCacheData::from_api_response(body, Some(&etag), fetched_at, None).unwrap()
}

/// 100 flags of 500 bytes, of which one has changed.
fn version(n: u64) -> FlagDefinitionCacheData {
    let mut values = [0; 100];
    values[n as usize % 100] = n;
    flags(n, &values, 450)
}

/// Bytes that the server has sent.
fn sent(server: &RedisServer) -> u64 {
    let stats = server.run::<String>("INFO stats");
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// How often the whole copy was read, if it is shorter than a piece.
fn whole_reads(server: &RedisServer) -> u64 {
    let stats = server.run::<String>("INFO commandstats");
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    let calls = line.and_then(|line| line.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// The follower's load, and whether it read the whole copy. The decision reads the lock once.
async fn follow(
    server: &RedisServer,
    follower: &Worker,
) -> (Option<FlagDefinitionCacheData>, bool) {
    let before = whole_reads(server);
    let data = follower.follow().await;
    (data, whole_reads(server) - before > 1)
}

#[track_caller]
fn same(read: Option<FlagDefinitionCacheData>, stored: &FlagDefinitionCacheData) {
    let read = read.unwrap();
    assert_eq!(read.to_json(), stored.to_json());
    assert_eq!(&read, stored);
}

/// For large copies, and many rounds on a busy machine.
fn patient(server: &RedisServer) -> RedisStoreBuilder {
    builder(server)
        .response_timeout(10 * SECOND)
        .lock_ttl(60 * SECOND)
}

/// A worker as of a previous release, which has no patches.
fn previous(server: &RedisServer) -> Worker {
    Worker::with(builder(server).without_patches())
}

#[tokio::test]
async fn b12_83_a_change_of_one_flag_of_ten_thousand_reads_less_than_four_kilobytes() {
    let server = RedisServer::start();
    let (leader, follower) = (
        Worker::with(patient(&server)),
        Worker::with(patient(&server)),
    );
    let mut values = vec![0; 10_000];
    leader.lead_with(&flags(1, &values, 950)).await;
    assert!(follower.follow().await.is_some());
    values[7_000] = 1;
    let new = flags(2, &values, 950);
    assert!(new.to_json().len() > 9_900_000);
    let asking = sent(&server);
    let asking = sent(&server) - asking;
    leader.lead_with(&new).await;
    follower.quiet().await;
    let before = sent(&server);
    let read = follower.follow().await;
    let bytes = sent(&server) - before - asking;
    same(read, &new);
    println!("{bytes} bytes from Redis for one flag of 10 000");
    assert!(bytes <= 4_096, "{bytes} bytes");
}

#[tokio::test]
async fn b12_83_each_change_is_read_as_a_patch_over_both_protocols() {
    let server = RedisServer::start();
    for protocol in ["resp2", "resp3"] {
        server.run::<()>("FLUSHALL");
        let url = format!("{}?protocol={protocol}", server.url());
        let worker = || Worker::with(RedisStore::builder(&url, SERVICE));
        let (leader, follower) = (worker(), worker());
        leader.lead_with(&version(1)).await;
        assert!(follow(&server, &follower).await.1);
        for n in 2..20 {
            leader.lead_with(&version(n)).await;
            let (read, whole) = follow(&server, &follower).await;
            same(read, &version(n));
            assert!(!whole, "{n}");
        }
        // What was changed back, too.
        for n in [3, 4, 3] {
            leader.lead_with(&version(n)).await;
            let (read, whole) = follow(&server, &follower).await;
            same(read, &version(n));
            assert!(!whole, "{n}");
        }
    }
}

#[tokio::test]
async fn b12_83_a_follower_some_changes_behind_reads_them_in_one_call() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    let mut last = 1;
    leader.lead_with(&version(last)).await;
    assert!(follower.follow().await.is_some());
    for (behind, whole) in [(2, false), (8, false), (9, true)] {
        for _ in 0..behind {
            last += 1;
            leader.lead_with(&version(last)).await;
        }
        let (read, was_whole) = follow(&server, &follower).await;
        same(read, &version(last));
        assert_eq!(was_whole, whole, "{behind} behind");
    }
}

#[tokio::test]
async fn b12_83_a_lost_chain_means_the_whole_copy_once() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&version(1)).await;
    assert!(follower.follow().await.is_some());
    let lose = [
        format!("DEL {PATCHES}"),
        format!("DEL {DATA} {PATCHES}"),
        "FLUSHALL".to_owned(),
    ];
    for (n, lost) in (1..).map(|n| 2 * n).zip(lose) {
        leader.lead_with(&version(n)).await;
        server.run::<()>(&lost);
        // Restored by the leader.
        assert!(leader.leads().await);
        leader.unchanged(&version(n)).await;
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n));
        assert!(whole, "{lost}");

        leader.lead_with(&version(n + 1)).await;
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n + 1));
        assert!(!whole, "after {lost}");
    }
}

#[tokio::test]
async fn b12_83_a_copy_of_another_program_in_between_is_read_whole() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&version(1)).await;
    assert!(follower.follow().await.is_some());
    let foreign = version(50).raw_json();
    let foreign = std::str::from_utf8(&foreign).unwrap();
    server.run_args::<()>(&["SET", DATA, foreign]);
    let (read, whole) = follow(&server, &follower).await;
    assert!(whole && read.unwrap().same_content(&version(50)));
    // From what the follower does not hold any more.
    leader.lead_with(&version(2)).await;
    let (read, whole) = follow(&server, &follower).await;
    assert!(whole);
    same(read, &version(2));

    // Unseen, it changes nothing.
    server.run_args::<()>(&["SET", DATA, foreign]);
    leader.lead_with(&version(3)).await;
    let (read, whole) = follow(&server, &follower).await;
    assert!(!whole);
    same(read, &version(3));
}

#[tokio::test]
async fn b12_83_a_leader_of_the_previous_form_that_alternates_breaks_the_chain_only() {
    let server = RedisServer::start();
    let leaders = [Worker::of(&server), previous(&server)];
    let (follower, former) = (Worker::of(&server), previous(&server));
    let mut whole_reads = 0;
    for n in 1..=12_u64 {
        let leader = &leaders[(n / 2 % 2) as usize];
        if n > 1 {
            // As a worker that was a follower until now.
            assert!(leader.leads().await);
            leader.read().await.unwrap();
        }
        leader.lead_with(&version(n)).await;
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n));
        whole_reads += u64::from(whole);
        let (read, whole) = follow(&server, &former).await;
        same(read, &version(n));
        assert!(whole, "it knows no patches");
        server.run::<()>(&format!("DEL {LOCK}"));
    }
    // The first one, and those of the other leader.
    assert_eq!(whole_reads, 7);
}

#[tokio::test]
async fn b12_83_a_new_leader_continues_the_chain() {
    let server = RedisServer::start();
    let (mut leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&version(1)).await;
    assert!(follower.follow().await.is_some());
    for n in 2..6 {
        // Killed.
        drop(leader);
        server.run::<()>(&format!("DEL {LOCK}"));
        leader = Worker::of(&server);
        assert!(leader.leads().await);
        assert!(
            leader.read().await.unwrap().is_some(),
            "for its first request"
        );
        leader.lead_with(&version(n)).await;
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n));
        assert!(!whole);
    }
}

#[tokio::test]
async fn b12_83_a_damaged_or_lying_patch_means_the_whole_copy() {
    let server = RedisServer::start();
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    leader.lead_with(&version(1)).await;
    assert!(follower.follow().await.is_some());
    let mut admin = server.admin();
    let elsewhere = Patch::between(&version(70), &version(71)).unwrap().encode();
    for n in 2..8_u64 {
        leader.lead_with(&version(n)).await;
        let order: String = admin.hget(PATCHES, "order").unwrap();
        let from = order.split(' ').next().unwrap();
        let link: Vec<u8> = admin.hget(PATCHES, from).unwrap();
        let (to, patch) = link.split_at(40);
        let damaged = match n {
            2 => b"garbage".to_vec(),
            3 => [to, b"garbage"].concat(),
            4 => link[..link.len() - 1].to_vec(),
            // Right in itself, for other content.
            5 => [to, &elsewhere].concat(),
            // To nowhere, and to itself.
            6 => [&[b'0'; 40], patch].concat(),
            _ => [from.as_bytes(), patch].concat(),
        };
        let () = admin.hset(PATCHES, from, damaged).unwrap();
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n));
        assert!(whole, "{n}");
    }
}

#[tokio::test]
async fn b12_83_the_pollers_of_one_store_read_a_patch_once() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    let store = builder(&server).build().unwrap();
    let readers: Vec<_> = (0..8).map(|_| Worker::on(&store)).collect();
    for n in 1..4 {
        leader.lead_with(&version(n)).await;
        for reader in &readers {
            assert!(!reader.leads().await);
        }
        let before = sent(&server);
        let reads = futures_util::future::join_all(readers.iter().map(Worker::read)).await;
        let bytes = sent(&server) - before;
        for read in reads {
            same(read.unwrap(), &version(n));
        }
        // One patch is some 400 bytes; the answer to INFO is 3 000 to 6 000.
        assert!(n == 1 || bytes < 8_000, "{bytes} bytes");
    }
}

#[tokio::test]
async fn b12_83_the_chain_is_bounded_and_lives_as_long_as_the_copy() {
    let server = RedisServer::start();
    let leader = Worker::with(builder(&server).data_ttl(3_600 * SECOND));
    for n in 1..30 {
        leader.lead_with(&version(n)).await;
    }
    assert_eq!(
        server.run::<u64>(&format!("HLEN {PATCHES}")),
        9,
        "8 patches, and their order"
    );
    let left = server.run::<i64>(&format!("PTTL {PATCHES}"));
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");

    // Patches of 250 KB.
    let mut values = [0; 3_000];
    for n in 30..36_u64 {
        values[..300].fill(n);
        let size = |at: usize| if at < 300 { 800 + n as usize } else { 800 };
        let body: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let filters = format!("{value}").repeat(size(at) / 2);
                format!(r#"{{"key":"flag-{at}","filters":"{filters}"}}"#)
            })
            .collect();
        let body = format!(r#"{{"flags":[{}]}}"#, body.join(","));
        let data = FlagDefinitionCacheData::from_json(body).unwrap();
        leader.lead_with(&data).await;
    }
    let used = server.run::<u64>(&format!("MEMORY USAGE {PATCHES} SAMPLES 0"));
    assert!((900_000..1_400_000).contains(&used), "{used} bytes");

    let forever = Worker::with(builder(&server).data_ttl(None));
    server.run::<()>(&format!("DEL {LOCK}"));
    assert!(forever.leads().await);
    forever.read().await.unwrap();
    for n in 40..42 {
        forever.lead_with(&version(n)).await;
    }
    assert_eq!(server.run::<i64>(&format!("PTTL {PATCHES}")), -1);
}

#[tokio::test]
async fn b12_83_a_key_of_another_type_means_whole_copies() {
    let server = RedisServer::start();
    server.run::<()>(&format!("RPUSH {PATCHES} x"));
    let (leader, follower) = (Worker::of(&server), Worker::of(&server));
    for n in 1..4 {
        leader.lead_with(&version(n)).await;
        let (read, whole) = follow(&server, &follower).await;
        same(read, &version(n));
        assert!(whole);
    }
    assert_eq!(server.run::<String>(&format!("TYPE {PATCHES}")), "list");
}

#[tokio::test]
async fn b12_83_a_small_copy_has_no_patches() {
    let server = RedisServer::start();
    let leader = Worker::of(&server);
    for n in 1..4 {
        leader.lead_with(&crate::worker::sized(n, 10)).await;
    }
    leader.lead_with(&set(5)).await;
    assert!(!server.run::<bool>(&format!("EXISTS {PATCHES}")));
    leader.lead_with(&set(6)).await;
    assert!(server.run::<bool>(&format!("EXISTS {PATCHES}")));
}

/// Changes of random size, with what can happen to a fleet and its server in between. At the end of each round every
/// follower has what the leader has.
///
/// `FLAGCACHE_PATCH_ROUNDS` sets the number of rounds, and `FLAGCACHE_PATCH_SEED` repeats them.
#[tokio::test]
async fn b12_83_random_changes_with_faults_leave_every_follower_with_the_leaders_definitions() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let rounds = number("FLAGCACHE_PATCH_ROUNDS").unwrap_or(300);
    let seed = number("FLAGCACHE_PATCH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("FLAGCACHE_PATCH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = RedisServer::start();
    let mut leader = Worker::with(patient(&server));
    let mut followers: Vec<_> = (0..3).map(|_| Worker::with(patient(&server))).collect();
    let mut values: Vec<(u64, u64)> = Vec::new();
    let (mut reads, mut whole) = (0, 0);
    for round in 1..=rounds {
        // Some followers miss some changes.
        for change in 0..random.u64(1..4) {
            match random.u8(..) {
                0..6 => values.clear(),
                6..12 => values.truncate(random.usize(..=values.len())),
                _ if values.len() < 60 => values.extend((0..200).map(|key| (key, random.u64(..)))),
                _ => {}
            }
            for _ in 0..1 << random.u32(..5) {
                let at = random.usize(..=values.len());
                let value = random.u64(..);
                match random.u8(..5) {
                    0 => values.insert(at, (value, round)),
                    1 if at < values.len() => drop(values.remove(at)),
                    _ if at < values.len() => values[at].1 = value,
                    _ => {}
                }
            }
            let data = keyed(4 * round + change, values.iter().copied(), 60);
            let is_new = match random.u8(..80) {
                // The leader is killed; the next one has read the copy, or is cold, or of the previous release.
                kind @ 0..6 => {
                    server.run::<()>(&format!("DEL {LOCK}"));
                    leader = if kind == 0 {
                        Worker::with(patient(&server).without_patches())
                    } else {
                        Worker::with(patient(&server))
                    };
                    assert!(leader.leads().await);
                    if kind != 5 {
                        let _ = leader.read().await;
                    }
                    true
                }
                6 => {
                    server.run::<()>("FLUSHALL");
                    false
                }
                7 => {
                    server.run::<()>(&format!("DEL {DATA}"));
                    false
                }
                8 | 9 => {
                    server.run::<()>(&format!("DEL {PATCHES}"));
                    false
                }
                10..13 => {
                    server.run::<()>("CLIENT KILL TYPE normal");
                    false
                }
                13 | 14 => {
                    let foreign = data.raw_json();
                    server.run_args::<()>(&["SET", DATA, std::str::from_utf8(&foreign).unwrap()]);
                    false
                }
                15 => {
                    let at = random.usize(..3);
                    followers[at] = Worker::with(patient(&server));
                    false
                }
                _ => false,
            };
            if is_new {
                leader.publish(&data).await.unwrap();
            } else {
                leader.lead_with(&data).await;
            }
        }
        // Lost or replaced after the publish: restored in the leader's next load.
        let data = keyed(4 * round + 3, values.iter().copied(), 60);
        leader.lead_with(&data).await;
        match random.u8(..60) {
            0 => server.run::<()>("FLUSHALL"),
            1 => server.run::<()>(&format!("DEL {DATA}")),
            2 => server.run_args::<()>(&["SET", DATA, r#"{"flags":[]}"#]),
            3 => server.run::<()>("CLIENT KILL TYPE normal"),
            _ => {}
        }
        assert!(leader.leads().await);
        leader.unchanged(&data).await;
        for follower in &followers {
            if random.u8(..4) == 0 && round < rounds {
                continue;
            }
            let (read, was_whole) = follow(&server, follower).await;
            reads += 1;
            whole += u64::from(was_whole);
            same(read, &data);
        }
    }
    println!("{rounds} rounds: {reads} reads, {whole} of whole copies");
    assert!(whole < reads / 2, "patches were hardly used");
}

#[tokio::test]
async fn b12_83_patches_outlive_a_paused_leader_whose_publish_is_refused() {
    let server = RedisServer::start();
    let (paused, leader, follower) = (
        Worker::with(short_lived(&server)),
        Worker::of(&server),
        Worker::of(&server),
    );
    paused.lead_with(&version(1)).await;
    assert!(follower.follow().await.is_some());
    assert!(paused.leads().await);
    server.run::<()>(&format!("DEL {LOCK}"));
    assert!(leader.leads().await);
    leader.read().await.unwrap();
    leader.lead_with(&version(2)).await;
    paused.publish(&version(9)).await.unwrap_err();
    let (read, whole) = follow(&server, &follower).await;
    assert!(!whole, "the refused publish left no patch");
    same(read, &version(2));
}
