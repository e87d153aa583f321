//! Moves the argument of a `blocking` method to another thread.

use crate::{FetchOutcome, FlagDefinitionCacheData};

/// An argument that can be moved to another thread.
pub trait Detach {
    /// The owned form.
    type Detached: Send + 'static;

    /// Clones what is borrowed.
    fn detach(self) -> Self::Detached;
}

/// A detached argument on the other thread.
pub trait Lend<'a> {
    /// The type of the trait's parameter.
    type Lent;

    /// Borrows it again.
    fn lend(&'a self) -> Self::Lent;
}

impl Detach for &FlagDefinitionCacheData {
    type Detached = FlagDefinitionCacheData;

    fn detach(self) -> FlagDefinitionCacheData {
        self.clone()
    }
}

impl<'a> Lend<'a> for FlagDefinitionCacheData {
    type Lent = &'a FlagDefinitionCacheData;

    fn lend(&'a self) -> &'a FlagDefinitionCacheData {
        self
    }
}

impl Detach for FetchOutcome {
    type Detached = Self;

    fn detach(self) -> Self {
        self
    }
}

impl Lend<'_> for FetchOutcome {
    type Lent = Self;

    fn lend(&self) -> Self {
        self.clone()
    }
}
