//! From what a method returns to what the trait says.

use std::error::Error;
use std::sync::Arc;

use crate::{FlagDefinitionCacheData, ProviderError};

/// What `should_fetch_flag_definitions` says.
pub type Decision = bool;

/// What `get_flag_definitions` and `peek_flag_definitions` say.
pub type Definitions = Option<FlagDefinitionCacheData>;

/// What the others say.
pub type Done = ();

/// A value that a provider method may return, or that its future may give, for the outcome `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from this provider method",
    label = "expected `{T}` or `Result<{T}, E>`",
    note = "`E` is anything that is `Into<Box<dyn Error + Send + Sync>>`: an error type, `String`, `&'static str`",
    note = "definitions may also be given as `Option<&FlagDefinitionCacheData>` or `Option<Arc<FlagDefinitionCacheData>>`"
)]
pub trait IntoOutcome<T> {
    /// Says it as the trait does.
    fn into_outcome(self) -> Result<T, ProviderError>;
}

#[diagnostic::do_not_recommend]
impl IntoOutcome<()> for () {
    fn into_outcome(self) -> Result<(), ProviderError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl IntoOutcome<bool> for bool {
    fn into_outcome(self) -> Result<bool, ProviderError> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl IntoOutcome<Definitions> for Definitions {
    fn into_outcome(self) -> Result<Definitions, ProviderError> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl IntoOutcome<Definitions> for Option<&FlagDefinitionCacheData> {
    fn into_outcome(self) -> Result<Definitions, ProviderError> {
        Ok(self.cloned())
    }
}

#[diagnostic::do_not_recommend]
impl IntoOutcome<Definitions> for Option<Arc<FlagDefinitionCacheData>> {
    fn into_outcome(self) -> Result<Definitions, ProviderError> {
        Ok(self.map(Arc::unwrap_or_clone))
    }
}

#[diagnostic::do_not_recommend]
impl<T, V, E> IntoOutcome<T> for Result<V, E>
where
    V: IntoOutcome<T>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn into_outcome(self) -> Result<T, ProviderError> {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Err(ProviderError::from_error(error)),
        }
    }
}
