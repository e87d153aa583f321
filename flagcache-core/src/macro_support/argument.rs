//! The argument of a method, in the form that its author asked for.

use crate::{FetchOutcome, FlagDefinitionCacheData, PollerContext};

/// What the trait passes. Wrapped, so that the expression is long enough to underline the whole parameter type.
#[derive(Debug)]
pub struct Given<A>(pub A);

/// A parameter type that can be filled from what the trait passes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what this provider method is given",
    label = "expected `{A}`",
    note = "definitions are taken by reference, `&FlagDefinitionCacheData`, or by value, `FlagDefinitionCacheData`"
)]
pub trait Argument<A> {
    /// Fills the parameter.
    fn argument(given: Given<A>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<&'a FlagDefinitionCacheData> for &'a FlagDefinitionCacheData {
    fn argument(given: Given<&'a FlagDefinitionCacheData>) -> Self {
        given.0
    }
}

#[diagnostic::do_not_recommend]
impl Argument<&FlagDefinitionCacheData> for FlagDefinitionCacheData {
    fn argument(given: Given<&FlagDefinitionCacheData>) -> Self {
        given.0.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<FetchOutcome<'a>> for FetchOutcome<'a> {
    fn argument(given: Given<FetchOutcome<'a>>) -> Self {
        given.0
    }
}

#[diagnostic::do_not_recommend]
impl Argument<PollerContext> for PollerContext {
    fn argument(given: Given<PollerContext>) -> Self {
        given.0
    }
}

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
