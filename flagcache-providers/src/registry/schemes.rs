//! [`ProviderRegistry`]: opens providers by the schemes of URLs.

use std::collections::BTreeMap;
use std::fmt;

use flagcache_core::FlagDefinitionCacheProvider;

use super::open::{OpenProvider, Opened};
use super::options::similar;
use super::support::options;
use super::{RegistryError, StoreUrl, UrlOption};

/// The schemes of the bundled stores, with their features and whether these are enabled.
const SCHEMES: [(&str, &str, bool); 15] = [
    ("memory", "memory", cfg!(feature = "memory")),
    ("file", "file", cfg!(feature = "file")),
    ("postgres", "postgres", cfg!(feature = "postgres")),
    ("postgresql", "postgres", cfg!(feature = "postgres")),
    ("s3", "object-store", cfg!(feature = "object-store")),
    ("gs", "object-store", cfg!(feature = "object-store")),
    ("az", "object-store", cfg!(feature = "object-store")),
    ("redis", "redis", cfg!(feature = "redis")),
    ("rediss", "redis", cfg!(feature = "redis")),
    ("redis+sentinel", "redis", cfg!(feature = "redis")),
    ("rediss+sentinel", "redis", cfg!(feature = "redis")),
    ("redis+cluster", "redis", cfg!(feature = "redis")),
    ("rediss+cluster", "redis", cfg!(feature = "redis")),
    ("redis+unix", "redis", cfg!(feature = "redis")),
    ("unix", "redis", cfg!(feature = "redis")),
];

#[derive(Clone)]
struct Entry {
    options: Vec<UrlOption>,
    open: fn(&StoreUrl) -> Opened,
}

/// Opens a provider by URL. See the [module](crate::registry) for the URLs of the bundled stores.
#[derive(Clone)]
pub struct ProviderRegistry {
    entries: BTreeMap<&'static str, Entry>,
}

impl ProviderRegistry {
    /// Returns a registry without schemes; [`default`](Self::default) has those of the bundled stores.
    pub fn empty() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }

    /// Registers the schemes of `C`, which opens the providers of their URLs.
    ///
    /// # Errors
    ///
    /// [`RegistryError::AlreadyRegistered`], or [`RegistryError::BadScheme`] if a scheme is not valid in a URL.
    pub fn register<C: OpenProvider>(mut self) -> Result<Self, RegistryError> {
        for scheme in C::SCHEMES {
            if !is_scheme(scheme) {
                return Err(RegistryError::BadScheme((*scheme).to_owned()));
            }
            if self.entries.contains_key(scheme) {
                return Err(RegistryError::AlreadyRegistered((*scheme).to_owned()));
            }
        }
        self.add::<C>();
        Ok(self)
    }

    pub(super) fn add<C: OpenProvider>(&mut self) {
        for scheme in C::SCHEMES {
            let options = options::<C>(scheme);
            let open = C::provider_at;
            self.entries.insert(scheme, Entry { options, open });
        }
    }

    /// The options of a scheme, for example to print them in a help text; empty for an unknown scheme.
    pub fn options(&self, scheme: &str) -> &[UrlOption] {
        self.entries
            .get(scheme)
            .map_or(&[], |entry| entry.options.as_slice())
    }

    /// The registered schemes, in order.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.entries.keys().copied()
    }

    /// Opens a provider for one poller. Does not connect.
    ///
    /// # Errors
    ///
    /// If the text is not a URL, its scheme is unknown, an option is unknown, repeated, missing or invalid, or the
    /// store rejects it. No error shows the URL.
    pub fn open(&self, url: &str) -> Result<Box<dyn FlagDefinitionCacheProvider>, RegistryError> {
        let url = StoreUrl::parse(url)?;
        let entry = self
            .entries
            .get(url.scheme())
            .ok_or_else(|| self.unknown(&url))?;
        url.refuse_other_options(&entry.options)?;
        (entry.open)(&url).map_err(|error| match error.downcast::<RegistryError>() {
            Ok(error) => *error,
            Err(source) => RegistryError::Refused {
                scheme: url.owned_scheme(),
                source,
            },
        })
    }

    fn unknown(&self, url: &StoreUrl) -> RegistryError {
        let scheme = url.owned_scheme();
        let absent = SCHEMES.iter().filter(|(_, _, compiled_in)| !compiled_in);
        if let Some((_, feature, _)) = absent.clone().find(|(absent, ..)| *absent == scheme) {
            return RegistryError::NotCompiledIn { scheme, feature };
        }
        let known: Vec<_> = self.schemes().collect();
        let mut text = if known.is_empty() {
            "none is known".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        for (scheme, feature, _) in absent {
            text.push_str(&format!("; {scheme} with the feature `{feature}`"));
        }
        if let Some(meant) = similar(&scheme, self.schemes()) {
            text.push_str(&format!("; did you mean {meant}?"));
        }
        RegistryError::UnknownScheme {
            scheme,
            known: text,
        }
    }
}

impl fmt::Debug for ProviderRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderRegistry")
            .field("schemes", &self.entries.keys())
            .finish()
    }
}

fn is_scheme(scheme: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.chars().all(inner)
}
