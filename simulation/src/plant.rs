//! [`Plant`]: mistakes that the tests plant in the model, to prove that each invariant detects one.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Redis grants the lock to every worker that asks.
    UncheckedLease,
    /// A follower never reads a newer copy than the one that it holds.
    KeepsOldCopy,
    /// Every third read of a follower returns the copy before the one that it holds.
    ReturnsOldCopy,
    /// The stored copy lacks the flag.
    LosesFlag,
    /// The API refuses every key after half an hour, and workers clear their definitions then.
    ClearsFlags,
    /// The API has forgotten its ETags: it never answers 304.
    ForgetsEtags,
}
