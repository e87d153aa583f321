//! What the compiler checks of a store with versions, for the expansion of `#[flag_cache_store]`.
//!
//! As [`provider_method`](super::provider_method), the module itself is not hidden, so that the compiler prints the traits by
//! their last name.

use std::error::Error;
use std::future::ready;

use bytes::Bytes;
use futures_util::FutureExt;

use super::outcome::{Awaited, Immediate, Plain};
use super::provider_method::{Fits, Given, Never, NeverFits};
use crate::poller::blocking_calls::BlockingCalls;
use crate::{
    ChangeNotifier, Expected, ProviderError, ReadIfChanged, Version, VersionedStore, VersionedValue,
};

/// The type of a value. An alias, not a re-export: the compiler would name the type by its path in here.
pub type GivenBytes = Bytes;

/// The outcome of `read`.
pub type StoredValue = Option<VersionedValue>;

/// The outcome of `write`.
pub type Written = Option<Version>;

/// The outcome of `read_if_changed`.
pub type StoredChange = ReadIfChanged;

/// A value that a store's method may return, or that its future may give, for the outcome `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from this method of a store",
    label = "expected `{T}` or `Result<{T}, E>`",
    note = "`E` is anything that is `Into<Box<dyn Error + Send + Sync>>`: an error type, `String`, `&'static str`",
    note = "`read` gives `Option<(value, version)>`, `write` gives `Option<version>`: the value is anything that is `Into<Bytes>`, the version an `i64`, a `u64`, a `String` or a `Version`"
)]
pub trait IntoStoreOutcome<T> {
    /// Converts into the trait's result type.
    fn into_outcome(self) -> Result<T, ProviderError>;
}

#[diagnostic::do_not_recommend]
impl<B: Into<Bytes>, V: Into<Version>> IntoStoreOutcome<StoredValue> for Option<(B, V)> {
    fn into_outcome(self) -> Result<StoredValue, ProviderError> {
        Ok(self.map(|(value, version)| (value.into(), version.into())))
    }
}

#[diagnostic::do_not_recommend]
impl<V: Into<Version>> IntoStoreOutcome<Written> for Option<V> {
    fn into_outcome(self) -> Result<Written, ProviderError> {
        Ok(self.map(Into::into))
    }
}

#[diagnostic::do_not_recommend]
impl IntoStoreOutcome<StoredChange> for ReadIfChanged {
    fn into_outcome(self) -> Result<StoredChange, ProviderError> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<T, V, E> IntoStoreOutcome<T> for Result<V, E>
where
    V: IntoStoreOutcome<T>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn into_outcome(self) -> Result<T, ProviderError> {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Err(ProviderError::from_error(error)),
        }
    }
}

/// What a store's method may return when its syntax does not show whether it is a future. The marker `M` keeps the two
/// implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from this method of a store",
    label = "expected `{T}`, `Result<{T}, E>` or a `Send` future of one of them",
    note = "`E` is anything that is `Into<Box<dyn Error + Send + Sync>>`: an error type, `String`, `&'static str`",
    note = "`read` gives `Option<(value, version)>`, `write` gives `Option<version>`: the value is anything that is `Into<Bytes>`, the version an `i64`, a `u64`, a `String` or a `Version`"
)]
pub trait ResolveStore<T, M> {
    /// The outcome, awaited if there is something to await.
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send;
}

#[diagnostic::do_not_recommend]
impl<T: Send, V: IntoStoreOutcome<T>> ResolveStore<T, Immediate<Plain>> for V {
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send {
        ready(self.into_outcome())
    }
}

#[diagnostic::do_not_recommend]
impl<T, A> ResolveStore<T, Awaited<Plain>> for A
where
    A: IntoFuture<IntoFuture: Send, Output: IntoStoreOutcome<T>>,
{
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send {
        self.into_future().map(IntoStoreOutcome::into_outcome)
    }
}

/// A parameter type of a store's method that can be filled from what the trait passes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what this method of a store is given",
    label = "expected `{A}`",
    note = "keys are taken as `&str` or `String`, values as `Bytes`, `&Bytes`, `&[u8]` or `Vec<u8>`, what is expected as `Expected` or `&Expected`"
)]
pub trait StoreArgument<'a, A> {
    /// Fills the parameter.
    fn argument(given: Given<&'a A>) -> Self;
}

macro_rules! store_argument {
    ($target:ty, $from:ty, |$given:ident| $value:expr) => {
        #[diagnostic::do_not_recommend]
        impl<'a> StoreArgument<'a, $from> for $target {
            fn argument(given: Given<&'a $from>) -> Self {
                let $given = given.0;
                $value
            }
        }
    };
}

store_argument!(&'a str, String, |key| key);
store_argument!(String, String, |key| key.clone());
store_argument!(Bytes, Bytes, |value| value.clone());
store_argument!(&'a Bytes, Bytes, |value| value);
store_argument!(&'a [u8], Bytes, |value| value);
store_argument!(Vec<u8>, Bytes, |value| value.to_vec());
store_argument!(Expected, Expected, |expected| expected.clone());
store_argument!(&'a Expected, Expected, |expected| expected);
store_argument!(Version, Version, |version| version.clone());
store_argument!(&'a Version, Version, |version| version);

/// What a watched store is given: nothing to convert, but a mistake is shown in the same words.
#[diagnostic::do_not_recommend]
impl<'a> StoreArgument<'a, ChangeNotifier> for ChangeNotifier {
    fn argument(given: Given<&'a ChangeNotifier>) -> Self {
        given.0.clone()
    }
}

/// What `watch` may return: nothing, or whether the key is watched.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from `watch`",
    label = "expected nothing, or `bool`: whether the key is watched"
)]
pub trait IntoWatching {
    /// Whether the key is watched.
    fn into_watching(self) -> bool;
}

#[diagnostic::do_not_recommend]
impl IntoWatching for () {
    fn into_watching(self) -> bool {
        true
    }
}

#[diagnostic::do_not_recommend]
impl IntoWatching for bool {
    fn into_watching(self) -> bool {
        self
    }
}

/// A store with a `blocking` method: the body's thread works on a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `blocking` method but is not `Clone`",
    label = "needs `{Self}: Clone`; the body's thread works on a clone",
    note = "derive `Clone` and keep shared state in an `Arc`"
)]
pub trait ClonedStore {
    /// The clone.
    fn cloned_store(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<S: VersionedStore + Clone> ClonedStore for S {
    fn cloned_store(&self) -> Self {
        self.clone()
    }
}

/// Runs `body` on a thread of its own, with a clone of the store.
pub fn blocking_store<S, T>(
    store: &S,
    clone: fn(&S) -> S,
    body: impl FnOnce(&S) -> Result<T, ProviderError> + Send + 'static,
) -> impl Future<Output = Result<T, ProviderError>> + Send
where
    S: Send + 'static,
    T: Send + 'static,
{
    let calls = BlockingCalls::of_this_call(store);
    let store = clone(store);
    async move { calls.run(move || body(&store)).await? }
}

/// A type that threads can share, as a store must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared between threads, and a store is shared",
    label = "a field is not `Send` and `Sync`",
    note = "write `Arc` for `Rc`, `Mutex` or `RwLock` for `RefCell`, an atomic or a `Mutex` for `Cell`; add `Send + Sync` to a `dyn Trait`; do not keep a `MutexGuard`"
)]
pub trait SharedStore<M> {
    /// Names the check.
    const CHECKED: () = ();
}

#[diagnostic::do_not_recommend]
impl<S: VersionedStore> SharedStore<Fits> for S {}

#[diagnostic::do_not_recommend]
impl<S: Never> SharedStore<NeverFits> for S {}

/// The same for a type with parameters: which of them lacks what is best said by the compiler.
pub trait SharedStoreOf: Send + Sync {}
