//! The [`#[flag_cache_provider]`](macro@flag_cache_provider) attribute of [flagcache](https://docs.rs/flagcache). Use
//! it as `flagcache::flag_cache_provider`.
//!
//! | module | contents |
//! |---|---|
//! | `contract` | the contract of an attribute: a table of methods |
//! | `provider`, `store` | the two contracts, and the trait methods that call the user's methods |
//! | `frame` | the output of an attribute for any input |
//! | `args`, `method_attr`, `parse` | parse the attribute's arguments, `#[flag_cache(…)]`, the block |
//! | `checks`, `similar`, `halves` | the checks that the macro itself makes |
//! | `expand` | the trait impl of a valid block |
//! | `open_provider` | `#[derive(OpenProvider)]`: reads the options of a URL into a struct |
//! | `misuse`, `fallback`, `errors` | the output for a block or an item with errors |
//! | `return_type`, `span_range` | inspect a signature; select where the compiler shows an error |
//! | `externs` | the name by which the compiler knows flagcache |

mod args;
mod checks;
mod contract;
mod errors;
mod expand;
mod externs;
mod fallback;
mod frame;
mod halves;
mod method_attr;
mod misuse;
mod open_provider;
mod parse;
mod provider;
mod return_type;
mod similar;
mod span_range;
mod store;
#[cfg(test)]
mod tests;

use provider::ProviderMethod;
use store::StoreMethod;

/// Implements `FlagDefinitionCacheProvider` for the type of an `impl` block.
///
/// Write the methods that you need, sync or async, and put the attribute on the block. The block remains unchanged; the
/// generated implementation calls its methods.
///
/// ```
/// use std::sync::Mutex;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// #[derive(Default)]
/// struct Shared {
///     copy: Mutex<Option<FlagDefinitionCacheData>>,
/// }
///
/// #[flag_cache_provider]
/// impl Shared {
///     fn should_fetch_flag_definitions(&self) -> bool {
///         true
///     }
///
///     fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
///         self.copy.lock().ok()?.clone()
///     }
///
///     async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), String> {
///         *self.copy.lock().map_err(|_| "a writer panicked")? = Some(data.clone());
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
/// | method | argument | returns | |
/// |---|---|---|---|
/// | `should_fetch_flag_definitions` | | `bool` | required |
/// | `get_flag_definitions` | | `Option<FlagDefinitionCacheData>` | required |
/// | `on_flag_definitions_received` | `&FlagDefinitionCacheData` | | required |
/// | `shutdown` | | | |
/// | `peek_flag_definitions` | | `Option<FlagDefinitionCacheData>` | |
/// | `on_fetch_without_update` | `FetchOutcome` | | |
/// | `on_poller_attached` | `PollerContext` | | a plain `fn` |
///
/// The trait, `FlagDefinitionCacheProvider`, documents the methods and when they are called. All take `&self`: a
/// provider is shared, so put mutable state into a `Mutex` or an atomic. A missing optional method does nothing.
///
/// Everything else in the block is a helper and passes through: functions, constants, other attributes
/// (`#[tracing::instrument]`, `#[cfg(…)]`, `#[must_use]`, documentation). The `impl` may have type and const parameters
/// and where-clauses; the type must be `Send`, `Sync` and `'static`.
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
///     // Awaited: a boxed future, also by an alias.
///     fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> BoxFuture<'_, ()> {
///         let bytes = data.to_json();
///         Box::pin(async move { drop(bytes) })
///     }
///
///     // Awaited: anything that implements `IntoFuture`.
///     fn peek_flag_definitions(&self) -> Ready<Option<FlagDefinitionCacheData>> {
///         ready(None)
///     }
///
///     // Not awaited: there is nothing to await.
///     fn shutdown(&self) {}
/// }
/// ```
///
/// A future must be `Send`. The error for an `async fn` whose future is not `Send` names the value that prevents it.
///
/// A plain `fn` runs **inline**: on the task of the poller, when the call is awaited. Use it for a lookup in memory.
/// While it runs, it blocks its runtime thread, and the poller's provider timeout cannot cancel it, because it has no
/// await point. If a body reads a file or uses a blocking client, mark it `blocking`, as the next section shows.
///
/// # Blocking bodies
///
/// `#[flag_cache(blocking)]` on a plain `fn` runs its body on a separate thread.
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
/// - Each call gets a new thread, not one of the runtime's: a body that hangs delays neither the shutdown of the
///   runtime nor the exit of the process. The thread is outside the runtime: `tokio::spawn` and `Handle::current` panic
///   in it.
/// - A body **cannot be cancelled**. After a timeout, the body continues to run, and the next call may run in parallel.
///   Give blocking operations a timeout of their own.
/// - At most four bodies of one provider run at the same time. Further calls fail at once, with the kind `Busy`.
/// - A panic in the body is propagated to the caller, as in an `async` body.
///
/// # Results and errors
///
/// Each method returns its value or a `Result` of it. The error may be anything that is `Into<Box<dyn Error + Send +
/// Sync>>`: an error type, `anyhow::Error`, `String`, `&'static str`. It becomes the `source()` of a `ProviderError`; a
/// `ProviderError`, with which you can set the kind, is returned unchanged. Aliases such as `std::io::Result` are
/// allowed.
///
/// A panic is caught by the poller and counts as an error.
///
/// # The data
///
/// Definitions are taken by reference or by value (a clone, which is cheap), and returned as an `Option` of the data,
/// of a reference to it, or of an `Arc` of it.
///
/// ```
/// use std::sync::OnceLock;
///
/// use flagcache::{FlagDefinitionCacheData, flag_cache_provider};
///
/// #[derive(Default)]
/// struct First {
///     copy: OnceLock<FlagDefinitionCacheData>,
/// }
///
/// #[flag_cache_provider]
/// impl First {
///     fn should_fetch_flag_definitions(&self) -> bool {
///         self.copy.get().is_none()
///     }
///
///     fn get_flag_definitions(&self) -> Option<&FlagDefinitionCacheData> {
///         self.copy.get()
///     }
///
///     fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) -> Result<(), &'static str> {
///         self.copy.set(data).map_err(|_| "the first copy is kept")
///     }
/// }
/// ```
///
/// # Accepted and rejected forms
///
/// | part | accepted | rejected, and why |
/// |---|---|---|
/// | block | inherent `impl`, with type and const parameters, where-clauses, `cfg`, lints | `impl Trait for`: the impl of the trait is generated, so `#[async_trait]` is not needed either |
/// | | methods generated by a `macro_rules!` that contains the block | methods in a second block, or from a macro call inside the block, which the attribute cannot see |
/// | type | anything `Send + Sync + 'static` | `Rc`, `RefCell`, `Cell`: a provider is shared between threads; lifetimes: it lives as long as its poller |
/// | receiver | `&self`, `self: &Self`, `self: &Store` | `&mut self`, `self`, `Arc<Self>`, `Pin<&Self>`: providers are shared |
/// | definitions | `&FlagDefinitionCacheData`, `FlagDefinitionCacheData` | `&'static` and `&mut`: they are borrowed for the call |
/// | other arguments | by value: `FetchOutcome`, `PollerContext` | by reference; `impl Trait`, which makes the method generic |
/// | value | plain, or from `async fn`, `impl Future`, `Pin<Box<dyn Future>>`, anything `IntoFuture`, an alias of these | `Box<dyn Future>` without `Pin`: it cannot be awaited; an `async fn` that returns a future: it is awaited once; a future that is not `Send` |
/// | definitions returned | `Option` of the data, of a reference to it, of an `Arc` of it | the data without `Option`: the store may be empty |
/// | error | `Result<_, E>` with `E: Into<Box<dyn Error + Send + Sync>>` | `Box<dyn Error>`, which threads cannot share; an error that borrows, because it outlives the call |
/// | method | visibility, documentation, other attributes, lifetimes, `cfg` as long as one definition remains | `unsafe`, `extern`, type parameters of its own; `cfg` and `flag_cache` inside `cfg_attr`, which is applied later |
/// | `#[flag_cache(…)]` | `blocking` on a plain `fn` of a `Clone` type, `helper` on a function that is not a method of the trait; `#[flagcache::flag_cache(…)]` | `blocking` on a method that returns a future, or on `on_poller_attached` |
///
/// # Helpers that look like methods
///
/// A misspelt `shutdown` would silently leave a lock behind. Therefore these names are rejected for functions that are
/// not methods of the trait:
///
/// - names that differ by a letter or two from a method that the block does not have, in any capitalization: `shutdwn`,
///   `getFlagDefinitions`;
/// - common names of a method that the block does not have: `should_fetch`, `get`, `on_received`, `close`, `stop`,
///   `on_shutdown`;
/// - all names that end in `flag_definitions` or begin with `on_flag_definitions`.
///
/// Mark such a function as a helper with `#[flag_cache(helper)]`.
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
/// # `cfg_attr`
///
/// The macro runs before `cfg_attr` is applied. `#[cfg(…)]` on a method works, also on two definitions of one method;
/// `cfg` and `flag_cache` inside `cfg_attr` are rejected.
///
/// # The crate's path
///
/// The expansion uses the path `::flagcache`. A crate that depends on `flagcache-core` alone, or renames the facade,
/// specifies the path, without quotes. It must resolve to one of the two crates.
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
    frame::generate::<ProviderMethod>(args.into(), item.into()).into()
}

/// Implements `VersionedStore` for the type of an `impl` block with two methods, which are all that flagcache needs to
/// elect a leader, fence late writes and share the definitions.
///
/// Write `read` and `write`, sync or async, and put the attribute on the block. The block remains unchanged; the
/// generated implementation calls its methods. `Versioned` makes providers of the store.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use flagcache::{Expected, flag_cache_store};
///
/// #[derive(Default)]
/// struct Shared {
///     values: Mutex<HashMap<String, (Vec<u8>, u64)>>,
/// }
///
/// #[flag_cache_store]
/// impl Shared {
///     fn read(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, String> {
///         let values = self.values.lock().map_err(|_| "a writer panicked")?;
///         Ok(values.get(key).cloned())
///     }
///
///     fn write(&self, key: &str, value: Vec<u8>, expected: Expected) -> Result<Option<u64>, String> {
///         let mut values = self.values.lock().map_err(|_| "a writer panicked")?;
///         let present = values.get(key).map(|(_, version)| *version);
///         let expected = expected.version().map(|version| version.parse()).transpose().map_err(|_| "not a version")?;
///         if present != expected {
///             return Ok(None); // another worker was first: nothing is written
///         }
///         let version = present.unwrap_or(0) + 1;
///         values.insert(key.to_owned(), (value, version));
///         Ok(Some(version))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = flagcache::Versioned::new(Shared::default(), "checkout")?;
/// let provider = store.provider(); // one for each poller
/// # drop(provider);
/// # Ok(())
/// # }
/// ```
///
/// # Methods
///
/// | method | arguments | returns | |
/// |---|---|---|---|
/// | `read` | `key` | `Option<(value, version)>` | required |
/// | `write` | `key`, `value`, `expected` | `Option<version>`; `None` if the key was in another state | required |
/// | `read_if_changed` | `key`, `known: &Version` | `ReadIfChanged` | |
/// | `watch` | `key`, `changed: ChangeNotifier` | nothing, or a `bool`: whether the key is watched | a plain `fn` |
///
/// The trait, `VersionedStore`, documents the methods.
///
/// As with [`#[flag_cache_provider]`](macro@flag_cache_provider), a method may be sync or `async`, return any future,
/// return its value or a `Result` with any error, and be `#[flag_cache(blocking)]`. Parameter types: `&str` or `String`
/// for keys; `Bytes`, `&Bytes`, `&[u8]` or `Vec<u8>` for values. Return types: anything that is `Into<Bytes>` for
/// values; `i64`, `u64`, `String` or `Version` for versions.
///
/// Everything else in the block is a helper and passes through. `crate = path` names the crate, without quotes.
#[proc_macro_attribute]
pub fn flag_cache_store(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    frame::generate::<StoreMethod>(args.into(), item.into()).into()
}

/// Implements `OpenProvider` for a struct: a provider's configuration, read from a URL. The fields are the options of
/// the URL.
///
/// Write the struct and a method `open` that makes the provider, and register the struct.
///
/// ```
/// use std::time::Duration;
///
/// use flagcache::{MemoryProvider, MemoryStore, OpenProvider, ProviderRegistry};
/// use flagcache::registry::SecretString;
///
/// #[derive(OpenProvider)]
/// #[open_provider(schemes("etcd", "etcds"))]
/// struct EtcdUrl {
///     /// The prefix of the keys.
///     prefix: String,
///     /// The duration of a lease.
///     #[open_provider(default = "10s")]
///     ttl: Duration,
///     /// The token, which errors and `Debug` never show.
///     token: Option<SecretString>,
///     /// A file with the certificates to trust.
///     #[open_provider(schemes("etcds"))]
///     ca: Option<String>,
/// }
///
/// impl EtcdUrl {
///     fn open(self) -> Result<MemoryProvider, String> {
///         // …
///         # let _ = (self.prefix, self.ttl, self.token, self.ca);
///         # Ok(MemoryStore::new().provider())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = ProviderRegistry::default().register::<EtcdUrl>()?;
/// let provider = registry.open("etcd://10.0.0.7?prefix=/flags/checkout&ttl=5s")?;
/// # drop(provider);
/// let error = registry.open("etcd://10.0.0.7?prefx=/flags").err().ok_or("opened")?;
/// assert_eq!(
///     error.to_string(),
///     "etcd URLs have no option `prefx`; their options: prefix, ttl, token; did you mean `prefix`?"
/// );
/// # Ok(())
/// # }
/// ```
///
/// # Fields
///
/// | field | if the option is missing |
/// |---|---|
/// | `name: T` | an error that names the option; also if it is empty |
/// | `name: Option<T>` | `None` |
/// | `#[open_provider(default = "10s")] name: T` | the default, written as in a URL |
/// | `#[open_provider(url)] url: StoreUrl` | not an option: the URL itself, with its servers and its path |
///
/// `T` is `String`, `bool`, `u16`, `u32`, `u64`, `Duration`, `PathBuf`, `SecretString`, or a type of your own that
/// implements `OptionValue`. The doc comment becomes the option's description, which `ProviderRegistry::options`
/// returns. `#[open_provider(schemes("…"))]` on a field limits it to some of the schemes. Unknown and repeated options
/// and invalid values are errors that say what to write and never show the value.
///
/// The struct also implements `TryFrom<&StoreUrl>`, for tests of its options.
///
/// # `open`
///
/// `fn open(self) -> Result<P, E>`, with a `P` that implements `FlagDefinitionCacheProvider` and an `E` that is
/// `Into<Box<dyn Error + Send + Sync>>`. It is not an `async fn`, because it should not connect: the store may be down
/// when a worker starts.
///
/// `#[open_provider(crate = path)]` on the struct names the crate, without quotes; it must resolve to flagcache or
/// flagcache-providers.
#[proc_macro_derive(OpenProvider, attributes(open_provider))]
pub fn derive_open_provider(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    open_provider::generate(item.into()).into()
}

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
