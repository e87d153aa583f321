//! [`RedisCluster`]: the nodes of a cluster.

use super::server::{RedisServer, STARTS_WITHIN};
use crate::certificates::ServerTls;
use crate::wait::wait_until;

const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Three primaries that share the slots, with a node timeout of 1 s, and optionally a replica of one of them. Killed
/// when dropped.
///
/// Methods panic on errors, as those of [`RedisServer`] do.
#[derive(Debug)]
pub struct RedisCluster {
    /// The primaries, followed by the replica.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the primaries and waits until all of them agree.
    #[must_use = "the servers are killed when it is dropped"]
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// Starts them with additional options of the server, and with TLS, which the nodes then also use between each
    /// other.
    #[must_use = "the servers are killed when it is dropped"]
    pub fn start_with(options: &[&str], tls: Option<&ServerTls>) -> Self {
        let nodes: Vec<_> = (0..3).map(|_| Self::node(options, tls)).collect();
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

    /// Adds a replica of the primary that has `key`, and waits until all know it.
    pub fn add_replica(&mut self, key: &str, tls: Option<&ServerTls>) {
        let replica = Self::node(&[], tls);
        self.introduce(&replica);
        self.nodes.push(replica);
        self.agrees();
        let (owner, replica) = (self.id(self.owner(key)), &self.nodes[3]);
        replica.run::<()>(&format!("CLUSTER REPLICATE {owner}"));
        wait_until("the replica has a copy", STARTS_WITHIN, || {
            replica
                .run::<String>("INFO replication")
                .contains("master_link_status:up")
        });
        wait_until("all know the replica", STARTS_WITHIN, || {
            self.nodes
                .iter()
                .all(|node| node.run::<String>("CLUSTER NODES").contains("slave "))
        });
    }

    /// Starts a node that knows no other node and has no slots.
    #[must_use = "the server is killed when it is dropped"]
    pub fn node(options: &[&str], tls: Option<&ServerTls>) -> RedisServer {
        let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let more = [
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-require-full-coverage",
            "no",
        ];
        let among = if tls.is_some() {
            ["--tls-cluster", "yes", "--tls-replication", "yes"].as_slice()
        } else {
            &[]
        };
        RedisServer::start_as(tls, true, &[&own, &more, among, options].concat())
    }

    /// The URL of the cluster for a store: `redis+cluster://127.0.0.1:<port>,…`, with `rediss` if the nodes use TLS.
    pub fn url(&self, seeds: &[usize]) -> String {
        let scheme = if self.nodes[0].tls_port().is_some() {
            "rediss"
        } else {
            "redis"
        };
        let seeds: Vec<_> = seeds
            .iter()
            .map(|&seed| format!("127.0.0.1:{}", self.nodes[seed].main_port()))
            .collect();
        format!("{scheme}+cluster://{}", seeds.join(","))
    }

    /// The index of the primary that had the key's slot at the start.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        SLOTS
            .iter()
            .position(|&(first, last)| (first..=last).contains(&slot))
            .unwrap()
    }

    /// The node that currently accepts commands for `key`, if any.
    pub fn primary(&self, key: &str) -> Option<&RedisServer> {
        self.nodes
            .iter()
            .find(|node| node.try_run::<u8>(&["EXISTS", key]).is_ok())
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].run(&format!("CLUSTER KEYSLOT {key}"))
    }

    /// The ID of a node.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].run("CLUSTER MYID")
    }

    /// Begins to move the slot of `key` to another node: the slot is open on both nodes, and no key is moved yet.
    pub fn begin_move(&self, key: &str, from: usize, to: usize) -> SlotMove<'_> {
        let this = SlotMove {
            cluster: self,
            slot: self.slot(key),
            from,
            to,
        };
        this.set(to, "IMPORTING", from);
        this.set(from, "MIGRATING", to);
        this
    }

    fn introduce(&self, node: &RedisServer) {
        let bus = node.run::<Vec<String>>("CONFIG GET cluster-port").remove(1);
        self.nodes[0].run::<()>(&format!(
            "CLUSTER MEET 127.0.0.1 {} {bus}",
            node.main_port()
        ));
    }

    fn agrees(&self) {
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        wait_until("the cluster agrees", STARTS_WITHIN, || {
            self.nodes.iter().all(|node| {
                let info = node.run::<String>("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains(&known)
            })
        });
    }
}

/// A slot that is being moved from one node to another.
#[derive(Debug)]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: usize,
    to: usize,
}

impl SlotMove<'_> {
    /// Moves one key, which must exist.
    pub fn key(&self, key: &str) {
        let port = self.cluster.nodes[self.to].main_port();
        let moved: String =
            self.cluster.nodes[self.from].run(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"));
        assert_eq!(moved, "OK", "there is no {key}");
    }

    /// Moves the existing keys among `keys` at the same moment.
    pub fn keys_at_once(&self, keys: &[&str]) {
        let port = self.cluster.nodes[self.to].main_port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        self.cluster.nodes[self.from].run_args::<String>(&[&migrate, keys].concat());
    }

    /// Announces the new owner of the slot to the nodes, to the former owner last.
    pub fn end(self) {
        let third = 3 - self.from - self.to;
        for node in [self.to, third, self.from] {
            self.set(node, "NODE", self.to);
        }
    }

    fn set(&self, node: usize, what: &str, other: usize) {
        let id = self.cluster.id(other);
        self.cluster.nodes[node].run::<()>(&format!("CLUSTER SETSLOT {} {what} {id}", self.slot));
    }
}
