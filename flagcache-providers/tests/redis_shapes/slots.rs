//! Moving the service's slot from node to node.

use crate::nodes::{Cluster, DATA};

/// A slot on its way from one node to another.
pub(crate) struct Move<'a> {
    cluster: &'a Cluster,
    slot: u16,
    from: usize,
    to: usize,
}

impl<'a> Move<'a> {
    /// Opens the slot on both nodes. No key is moved yet.
    pub(crate) fn begin(cluster: &'a Cluster, from: usize, to: usize) -> Self {
        let this = Self { cluster, slot: cluster.slot(), from, to };
        this.set(to, "IMPORTING", from);
        this.set(from, "MIGRATING", to);
        this
    }

    /// Moves one key; `""` stands for the definitions.
    pub(crate) fn key(&self, suffix: &str) {
        let port = self.cluster.nodes[self.to].port();
        let moved: String =
            self.cluster.nodes[self.from].run(&format!("MIGRATE 127.0.0.1 {port} {DATA}{suffix} 0 5000"));
        assert_eq!(moved, "OK", "there is such a key");
    }

    /// Tells the nodes who has the slot now; the one that gave it away last.
    pub(crate) fn end(self) {
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
