//! The nodes of a cluster.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use flagcache_providers::redis::{RedisStore, RedisStoreBuilder};

use flagcache_providers::testing::RedisServer;

pub(crate) const SERVICE: &str = "{checkout}";
pub(crate) const DATA: &str = "posthog:flags:{checkout}";

const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Three primaries that share the slots, and after these a replica for the one that has the service's.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts the primaries and waits until all of them agree.
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> = (0..3).map(|_| node()).collect();
        for (index, (node, (first, last))) in nodes.iter().zip(SLOTS).enumerate() {
            node.run::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            node.run::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes[1..] {
            cluster.introduce(node);
        }
        cluster.agrees();
        cluster
    }

    /// The same, with the replica.
    pub(crate) fn with_replica() -> Self {
        let mut cluster = Self::start();
        let replica = node();
        cluster.introduce(&replica);
        cluster.nodes.push(replica);
        cluster.agrees();
        let owner = cluster.id(cluster.owner());
        cluster.nodes[3].run::<()>(&format!("CLUSTER REPLICATE {owner}"));
        wait("the replica has a copy", || {
            cluster.nodes[3].run::<String>("INFO replication").contains("master_link_status:up")
        });
        wait("all know the replica", || {
            cluster.nodes.iter().all(|node| node.run::<String>("CLUSTER NODES").contains("slave "))
        });
        cluster
    }

    /// The index of the primary that had the service's slot at the start.
    pub(crate) fn owner(&self) -> usize {
        let slot = self.slot();
        SLOTS.iter().position(|&(first, last)| (first..=last).contains(&slot)).unwrap()
    }

    pub(crate) fn slot(&self) -> u16 {
        self.nodes[0].run(&format!("CLUSTER KEYSLOT {DATA}"))
    }

    pub(crate) fn id(&self, node: usize) -> String {
        self.nodes[node].run("CLUSTER MYID")
    }

    /// A store that knows these nodes.
    pub(crate) fn builder(&self, seeds: &[usize]) -> RedisStoreBuilder {
        let seeds: Vec<_> = seeds.iter().map(|&seed| format!("127.0.0.1:{}", self.nodes[seed].port())).collect();
        RedisStore::builder(format!("redis+cluster://{}", seeds.join(",")), SERVICE)
    }

    fn introduce(&self, node: &RedisServer) {
        let (port, bus) = (node.port(), bus_port(node));
        self.nodes[0].run::<()>(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
    }

    fn agrees(&self) {
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        wait("the cluster agrees", || {
            self.nodes.iter().all(|node| {
                let info = node.run::<String>("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains(&known)
            })
        });
    }
}

/// A node that knows no other, and has no slots.
pub(crate) fn node() -> RedisServer {
    // The server's own choice, its port plus 10 000, may be no port at all.
    let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    RedisServer::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus.to_string(),
        "--cluster-node-timeout",
        "1000",
        "--cluster-replica-validity-factor",
        "0",
        "--cluster-require-full-coverage",
        "no",
    ])
}

fn bus_port(node: &RedisServer) -> String {
    node.run::<Vec<String>>("CONFIG GET cluster-port").remove(1)
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
