//! The [`#[flag_cache_provider]`](macro@flag_cache_provider) attribute of [flagcache](https://docs.rs/flagcache). Use it from
//! there: `flagcache::flag_cache_provider`.
//!
//! | module | what lives there |
//! |---|---|
//! | `generate` | from the attribute's input to its output, whatever the input is |
//! | `args`, `mark`, `parse` | what the user wrote: the attribute's arguments, `#[flag_cache(…)]`, the block |
//! | `hook` | the methods of a provider, one table for all that follows |
//! | `validate`, `near` | every rule that the macro itself checks |
//! | `expand`, `call` | the trait impl |
//! | `returns`, `place` | what a signature tells, and where the compiler shows an error |
//! | `wrong_item`, `fallback`, `errors` | what is left to say when something is wrong |

mod args;
mod call;
mod errors;
mod expand;
mod fallback;
mod generate;
mod hook;
mod mark;
mod near;
mod parse;
mod place;
mod returns;
#[cfg(test)]
mod tests;
mod validate;
mod wrong_item;

/// Makes a flag definition cache provider of an `impl` block.
///
/// Write the methods that you need, each in the way that suits it, and put the attribute on the block. The block stays as it
/// is, and `FlagDefinitionCacheProvider` is implemented for its type by calling the methods.
///
/// ```
/// use std::sync::Mutex;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// #[derive(Default)]
/// struct Shared {
///     kept: Mutex<Option<FlagDefinitionCacheData>>,
/// }
///
/// #[flag_cache_provider]
/// impl Shared {
///     fn should_fetch_flag_definitions(&self) -> bool {
///         true
///     }
///
///     fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
///         self.kept.lock().ok()?.clone()
///     }
///
///     async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), String> {
///         *self.kept.lock().map_err(|_| "a writer panicked")? = Some(data.clone());
///         Ok(())
///     }
/// }
///
/// # use std::sync::Arc;
/// let provider: Arc<dyn flagcache::FlagDefinitionCacheProvider> = Arc::new(Shared::default());
/// # drop(provider);
/// ```
///
/// # Methods
///
/// | method | argument | gives | |
/// |---|---|---|---|
/// | `should_fetch_flag_definitions` | | `bool` | required |
/// | `get_flag_definitions` | | `Option<FlagDefinitionCacheData>` | required |
/// | `on_flag_definitions_received` | `&FlagDefinitionCacheData` | | required |
/// | `shutdown` | | | |
/// | `peek_flag_definitions` | | `Option<FlagDefinitionCacheData>` | |
/// | `on_fetch_without_update` | `FetchOutcome<'_>` | | |
/// | `on_poller_attached` | `PollerContext` | | a plain `fn` |
///
/// What each is for, and when it is called, stands at the trait, `FlagDefinitionCacheProvider`. All take `&self`: a provider is
/// shared, so what changes goes into a `Mutex` or an atomic. A method that may be left out does nothing then.
///
/// Everything else in the block is a helper and passes through: functions, constants, other attributes
/// (`#[tracing::instrument]`, `#[cfg(…)]`, `#[must_use]`, documentation). The `impl` may have type and const parameters and
/// where-clauses; the type must come out `Send`, `Sync` and `'static`.
///
/// # Sync, async, or any future
///
/// ```
/// use std::future::{Ready, ready};
/// use std::pin::Pin;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
///
/// struct Store;
///
/// #[flag_cache_provider]
/// impl Store {
///     // Awaited.
///     async fn should_fetch_flag_definitions(&self) -> bool {
///         true
///     }
///
///     // Awaited: `impl Future`, with or without `+ Send + '_`.
///     fn get_flag_definitions(&self) -> impl Future<Output = Option<FlagDefinitionCacheData>> {
///         async { None }
///     }
///
///     // Awaited: a boxed future, under its own name or another one.
///     fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> BoxFuture<'_, ()> {
///         let bytes = data.to_json();
///         Box::pin(async move { drop(bytes) })
///     }
///
///     // Awaited: whatever can be awaited is.
///     fn peek_flag_definitions(&self) -> Ready<Option<FlagDefinitionCacheData>> {
///         ready(None)
///     }
///
///     // Not awaited: there is nothing to await.
///     fn shutdown(&self) {}
/// }
/// ```
///
/// A future must be `Send`. An `async fn` that is not is reported on its `async`, with the value that is in the way.
///
/// A plain `fn` runs **inline**: on the task of the poller, at the moment at which the call is awaited. That is right for a
/// body that looks something up in memory. While it runs, its runtime thread does nothing else, and the poller's provider timeout
/// cannot cut it, for there is no await at which to cut. A body that reads a file or asks a server with a blocking client
/// is for `blocking`, next.
///
/// # Blocking bodies
///
/// `#[flag_cache(blocking)]` on a plain `fn` runs its body on a thread of its own.
///
/// ```
/// use std::path::PathBuf;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// #[derive(Clone)]
/// struct Copy {
///     path: PathBuf,
/// }
///
/// #[flag_cache_provider]
/// impl Copy {
///     fn should_fetch_flag_definitions(&self) -> bool {
///         false
///     }
///
///     #[flag_cache(blocking)]
///     fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, Box<dyn std::error::Error + Send + Sync>> {
///         let json = std::fs::read(&self.path)?;
///         Ok(Some(FlagDefinitionCacheData::from_json(json)?))
///     }
///
///     #[flag_cache(blocking)]
///     fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> std::io::Result<()> {
///         std::fs::write(&self.path, data.to_json())
///     }
/// }
/// ```
///
/// - The type must be `Clone`: the thread works on a clone, so keep shared state in an `Arc`.
/// - The thread is new for each call and not one of the runtime's: a body that hangs keeps neither the runtime nor the
///   process from ending. It is not inside the runtime either: `tokio::spawn` and `Handle::current` fail there.
/// - A body **cannot be cancelled**. When the poller cuts the call at its limit, the body runs on to its end, and the next
///   call may start beside it. Give what blocks a time limit of its own.
/// - At most four bodies of one provider run at the same time. Beyond that a call fails at once, with the kind `Busy`.
/// - A panic in the body goes on in the call, as if the body had been `async`.
///
/// # Results and errors
///
/// Each method gives its value or a `Result` of it. The error may be anything that is `Into<Box<dyn Error + Send + Sync>>`: an
/// error type, `anyhow::Error`, `String`, `&'static str`. It arrives whole, as the `source()` of a `ProviderError`; a
/// `ProviderError` of your own, which lets you say the kind, is passed on as it is. Aliases such as `std::io::Result` are fine.
///
/// A panic is caught by the poller and counts as an error.
///
/// # The data
///
/// Definitions are taken by reference or by value (a clone, which is cheap), and given as an `Option` of the data, of a
/// reference to it, or of an `Arc` of it.
///
/// ```
/// use std::sync::OnceLock;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// #[derive(Default)]
/// struct First {
///     kept: OnceLock<FlagDefinitionCacheData>,
/// }
///
/// #[flag_cache_provider]
/// impl First {
///     fn should_fetch_flag_definitions(&self) -> bool {
///         self.kept.get().is_none()
///     }
///
///     fn get_flag_definitions(&self) -> Option<&FlagDefinitionCacheData> {
///         self.kept.get()
///     }
///
///     fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) -> Result<(), &'static str> {
///         self.kept.set(data).map_err(|_| "the first one stays")
///     }
/// }
/// ```
///
/// # Helpers that look like methods
///
/// A function whose name is a letter or two away from a method that is not there is taken for a slip, because a misspelt
/// `shutdown` would silently leave a lock behind. `#[flag_cache(helper)]` says that it is none.
///
/// ```
/// # use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
/// # struct Store;
/// #[flag_cache_provider]
/// impl Store {
///     # fn should_fetch_flag_definitions(&self) -> bool { true }
///     # fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> { None }
///     # fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
///     // …
///     #[flag_cache(helper)]
///     pub fn shutdowns(&self) -> u64 {
///         0
///     }
/// }
/// ```
///
/// # Attributes that hide others
///
/// The macro sees a block before `cfg_attr` is applied. `#[cfg(…)]` on a method works, also on two definitions of one method;
/// `cfg` and `flag_cache` inside `cfg_attr` are refused.
///
/// # The crate's path
///
/// The expansion names `::flagcache`. A crate that depends on `flagcache-core` alone, or has the facade under another name,
/// says so, without quotes. The path must lead to either of the two crates.
///
/// ```
/// # mod flags { pub use flagcache::*; }
/// # use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
/// # struct Store;
/// #[flag_cache_provider(crate = flags)]
/// impl Store {
///     // …
///     # fn should_fetch_flag_definitions(&self) -> bool { true }
///     # fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> { None }
///     # fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
/// }
/// ```
#[proc_macro_attribute]
pub fn flag_cache_provider(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    generate::generate(args.into(), item.into()).into()
}
