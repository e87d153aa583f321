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

/// A [`FetchOutcome`] with owned definitions.
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
