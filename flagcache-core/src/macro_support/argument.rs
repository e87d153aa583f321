//! The argument of a `blocking` method on its way to another thread.

use crate::{FetchOutcome, FlagDefinitionCacheData};

/// An argument that can be taken to another thread.
pub trait Detach {
    /// What travels.
    type Detached: Send + 'static;

    /// Copies what is borrowed.
    fn detach(self) -> Self::Detached;
}

/// A detached argument, at its destination.
pub trait Lend<'a> {
    /// What the trait passes.
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

/// A [`FetchOutcome`] with the definitions that it borrowed.
#[derive(Debug)]
pub struct DetachedOutcome {
    outcome: FetchOutcome<'static>,
    data: Option<FlagDefinitionCacheData>,
}

impl Detach for FetchOutcome<'_> {
    type Detached = DetachedOutcome;

    fn detach(self) -> DetachedOutcome {
        DetachedOutcome {
            outcome: self.with_data(None),
            data: self.data().cloned(),
        }
    }
}

impl<'a> Lend<'a> for DetachedOutcome {
    type Lent = FetchOutcome<'a>;

    fn lend(&'a self) -> FetchOutcome<'a> {
        self.outcome.with_data(self.data.as_ref())
    }
}
