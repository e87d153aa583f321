//! Random operations of five workers against a model of what the scripts promise: at most one leads, nothing
//! is written without its token, and the copy never goes back to an older load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
};
use flagcache_test_support::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::worker::{DATA, LOCK, Worker, builder, set, version};

const WORKERS: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The flags are changed in PostHog.
    Change,
    /// A load begins; PostHog's answer is what is current now, however late the worker gets to it.
    Decide(usize),
    /// A follower's load ends.
    Read(usize),
    /// The answer arrives: a new set or a 304. The worker may have been paused for long.
    Answer(usize),
    /// A 5xx arrives.
    Fail(usize),
    /// A 401 arrives.
    GiveUp(usize),
    /// The worker is killed, and another comes in its place.
    Kill(usize),
    /// The worker is shut down, and another comes in its place.
    ShutDown(usize),
    /// The lock's TTL passes.
    Expire,
    /// The server loses everything.
    Flush,
    /// The copy alone is evicted.
    Evict,
    /// Another program writes something that is no definitions.
    Garbage,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let worker = 0..WORKERS;
    let op = prop_oneof![
        2 => Just(Op::Change),
        8 => worker.clone().prop_map(Op::Decide),
        4 => worker.clone().prop_map(Op::Read),
        8 => worker.clone().prop_map(Op::Answer),
        2 => worker.clone().prop_map(Op::Fail),
        1 => worker.clone().prop_map(Op::GiveUp),
        1 => worker.clone().prop_map(Op::Kill),
        1 => worker.prop_map(Op::ShutDown),
        3 => Just(Op::Expire),
        1 => Just(Op::Flush),
        1 => Just(Op::Evict),
        1 => Just(Op::Garbage),
    ];
    proptest::collection::vec(op, 1..60)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stored {
    Version(u64),
    Garbage,
}

/// What a worker is in the middle of.
#[derive(Clone, Copy, Debug)]
struct Load {
    leads: bool,
    /// Which of all decisions, so that a lock won anew is not taken for the old one.
    decision: u64,
    answer: u64,
    /// What was stored when it began.
    seen: Option<Stored>,
}

struct Member {
    worker: Worker,
    memory: Option<u64>,
    load: Option<Load>,
    out: bool,
}

impl Member {
    fn new(server: &RedisServer) -> Self {
        Self {
            worker: Worker::with(builder(server)),
            memory: None,
            load: None,
            out: false,
        }
    }
}

struct Fleet<'a> {
    server: &'a RedisServer,
    members: Vec<Member>,
    current: u64,
    decisions: u64,
    /// The leader, by the decision with which it acquired or renewed leadership.
    holder: Option<(usize, u64)>,
    stored: Option<Stored>,
    /// Whether a leader stored it. What a worker that does not lead creates in an empty store is provisional: the
    /// answer of a leader's load replaces it, even of one that began earlier.
    by_leader: bool,
}

impl Fleet<'_> {
    async fn step(&mut self, op: Op) {
        match op {
            Op::Change => self.current += 1,
            Op::Decide(at) => {
                self.decisions += 1;
                let free = self.holder.is_none_or(|(holder, _)| holder == at);
                let expected = free && !self.members[at].out;
                let leads = self.members[at].worker.leads().await;
                assert_eq!(leads, expected, "decision of {at}");
                if leads {
                    self.holder = Some((at, self.decisions));
                }
                let (decision, answer, seen) = (self.decisions, self.current, self.stored);
                self.members[at].load = Some(Load {
                    leads,
                    decision,
                    answer,
                    seen,
                });
            }
            Op::Read(at) => {
                let Some(load) = self.members[at].load.take_if(|load| !load.leads) else {
                    return;
                };
                // The copy that the decision saw, or the present one if that had to be fetched.
                let read = match self.members[at].worker.read().await {
                    Ok(data) => data.as_ref().map(|data| Stored::Version(version(data))),
                    Err(_) => Some(Stored::Garbage),
                };
                assert!(
                    read == load.seen || read == self.stored,
                    "{at} read {read:?}"
                );
                if let Some(Stored::Version(version)) = read {
                    self.members[at].memory = Some(version);
                }
            }
            Op::Answer(at) => {
                let Some(load) = self.members[at].load.take() else {
                    return;
                };
                let holds = load.leads && self.holder == Some((at, load.decision));
                let member = &mut self.members[at];
                let fresh = member.memory != Some(load.answer);
                if !fresh && !load.leads {
                    return;
                }
                member.memory = Some(load.answer);
                let done = if fresh {
                    member.worker.publish(&set(load.answer)).await
                } else {
                    member
                        .worker
                        .fetch_without_update(FetchOutcome::unchanged(&set(load.answer)))
                        .await
                };
                assert_eq!(
                    done.is_ok(),
                    holds || !load.leads,
                    "answer of {at}: {done:?}"
                );
                if holds {
                    self.store(load.answer);
                } else if !load.leads && self.stored.is_none() {
                    self.stored = Some(Stored::Version(load.answer));
                    self.by_leader = false;
                }
            }
            Op::Fail(at) => {
                self.fail(at, None).await;
            }
            Op::GiveUp(at) => {
                if self.fail(at, Some(Duration::from_secs(3_600))).await {
                    self.members[at].out = true;
                    self.free(at);
                }
            }
            Op::Kill(at) => self.members[at] = Member::new(self.server),
            Op::ShutDown(at) => {
                let gone = std::mem::replace(&mut self.members[at], Member::new(self.server));
                gone.worker.shutdown().await;
                self.free(at);
            }
            Op::Expire => {
                self.server.run::<()>(&format!("DEL {LOCK}"));
                self.holder = None;
            }
            Op::Flush => {
                self.server.run::<()>("FLUSHALL");
                (self.holder, self.stored) = (None, None);
            }
            Op::Evict => {
                self.server.run::<()>(&format!("DEL {DATA}"));
                self.stored = None;
            }
            Op::Garbage => {
                self.server.run_args::<()>(&["SET", DATA, "garbage"]);
                self.stored = Some(Stored::Garbage);
            }
        }
        // A killed worker's lock belongs to no running worker until it expires: another worker has its place.
        if let Op::Kill(at) = op
            && self.holder.is_some_and(|(holder, _)| holder == at)
        {
            self.holder = Some((WORKERS, 0));
        }
        self.check();
    }

    /// Gives whether there was a leader's load to fail.
    async fn fail(&mut self, at: usize, give_up: Option<Duration>) -> bool {
        let Some(load) = self.members[at].load.take_if(|load| load.leads) else {
            return false;
        };
        let holds = self.holder == Some((at, load.decision));
        let memory = self.members[at].memory.map(set);
        let outcome = FetchOutcome::failed(FetchErrorKind::Server, memory.as_ref())
            .with_step_down_for(give_up);
        let done = self.members[at].worker.fetch_without_update(outcome).await;
        assert_eq!(done.is_ok(), holds, "failure of {at}: {done:?}");
        if let Some(memory) = self.members[at].memory.filter(|_| holds) {
            let newer = matches!(self.stored, Some(Stored::Version(stored)) if stored > memory);
            if !newer {
                self.stored = Some(Stored::Version(memory));
            }
        }
        true
    }

    fn store(&mut self, version: u64) {
        if let Some(Stored::Version(stored)) = self.stored.filter(|_| self.by_leader) {
            assert!(
                stored <= version,
                "the copy went back from {stored} to {version}"
            );
        }
        self.stored = Some(Stored::Version(version));
        self.by_leader = true;
    }

    fn free(&mut self, at: usize) {
        self.holder = self.holder.filter(|&(holder, _)| holder != at);
    }

    fn check(&self) {
        let held = self.server.run::<Option<String>>(&format!("GET {LOCK}"));
        assert_eq!(
            held.is_some(),
            self.holder.is_some(),
            "{held:?} in the lock"
        );
        let stored = match self
            .server
            .run::<Option<String>>(&format!("GET {DATA}"))
            .as_deref()
        {
            None => None,
            Some("garbage") => Some(Stored::Garbage),
            Some(copy) => {
                let data = FlagDefinitionCacheData::from_json(copy.to_owned()).unwrap();
                Some(Stored::Version(version(&data)))
            }
        };
        assert_eq!(stored, self.stored);
    }
}

#[test]
fn b8_65_random_operations_agree_with_the_model() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&ops(), |ops| {
        runtime.block_on(async {
            server.run::<()>("FLUSHALL");
            let mut fleet = Fleet {
                server: &server,
                members: (0..WORKERS).map(|_| Member::new(&server)).collect(),
                current: 1,
                decisions: 0,
                holder: None,
                stored: None,
                by_leader: false,
            };
            for op in ops {
                fleet.step(op).await;
            }
            for member in &fleet.members {
                member.worker.provider.shutdown().await.unwrap();
            }
        });
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Whole loads of all workers at the same time, while the lock is taken away again and again. A version is drawn
/// after the decision, so what a later holder of the lock stores is always greater.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_65_concurrent_workers_never_roll_the_copy_back() {
    let server = RedisServer::start();
    let versions = Arc::new(AtomicU64::new(1));
    let refused = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let worker = Worker::with(builder(&server));
            let (versions, refused) = (Arc::clone(&versions), Arc::clone(&refused));
            tokio::spawn(async move {
                loop {
                    if worker.leads().await {
                        let version = versions.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..3_000))).await;
                        if worker.publish(&set(version)).await.is_err() {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..500))).await;
                }
            })
        })
        .collect();

    let mut admin = server.admin();
    let mut last = 0;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let (copy, _): (Option<String>, i64) =
            redis::pipe().get(DATA).del(LOCK).query(&mut admin).unwrap();
        if let Some(copy) = copy {
            let stored = version(&FlagDefinitionCacheData::from_json(copy).unwrap());
            assert!(last <= stored, "the copy went back from {last} to {stored}");
            last = stored;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for worker in workers {
        worker.abort();
    }
    assert!(last > 20, "only {last} loads");
    assert!(
        refused.load(Ordering::Relaxed) > 0,
        "no late leader was among them"
    );
}
