//! [`StoreUrl`]: a parsed URL of a store.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use url::{Position, Url};

use super::options::similar;
use super::{OptionValue, RegistryError, UrlOption};

/// The parsed URL of a store. It may contain a password: `Debug` shows only its scheme and the names of its options.
#[derive(Clone)]
pub struct StoreUrl {
    /// The URL with only the first of several servers.
    url: Url,
    /// The other servers, each preceded by a comma.
    others: String,
    has_authority: bool,
    options: BTreeMap<String, String>,
}

impl StoreUrl {
    /// Parses a URL, as [`ProviderRegistry::open`](super::ProviderRegistry::open) does before it passes it to a
    /// provider.
    ///
    /// # Errors
    ///
    /// If the text is not a URL, has a fragment, or repeats an option.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let text = text.trim();
        let others = other_servers(text);
        let (before, after) = (&text[..others.start], &text[others.end..]);
        let url = Url::parse(&format!("{before}{after}"))
            .map_err(|error| RegistryError::NotAUrl(error.into()))?;
        // Checked in the text, because the parser adds missing slashes to a file URL.
        let has_authority = text
            .split_once(':')
            .is_some_and(|(_, rest)| rest.starts_with("//"));
        let mut this = Self {
            url,
            others: text[others].to_owned(),
            has_authority,
            options: BTreeMap::new(),
        };
        if this.url.fragment().is_some() {
            // Probably an unescaped `#` in a password, which truncates the URL.
            return Err(this.bad_url("it contains `#`; in a name or a password, write %23 instead"));
        }
        for (option, value) in this.url.clone().query_pairs() {
            if option.contains(['@', ':', '/', '?']) {
                // Probably a `?` in a password, whose rest would be shown as the name of an option.
                return Err(this.bad_url(
                    "an option's name has one of @ : / ?; write %3F for a `?` that belongs to a name or a password",
                ));
            }
            if this
                .options
                .insert(option.clone().into_owned(), value.into_owned())
                .is_some()
            {
                return Err(RegistryError::RepeatedOption {
                    scheme: this.owned_scheme(),
                    option: option.into_owned(),
                });
            }
        }
        Ok(this)
    }

    /// The part before the first colon, in lower case.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Whether `//` follows the scheme.
    pub fn has_authority(&self) -> bool {
        self.has_authority
    }

    /// The servers, each with its port if specified. A URL may name several, separated by commas.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        let first = &self.url[Position::BeforeHost..Position::AfterPort];
        std::iter::once(first)
            .chain(self.others.split(',').skip(1))
            .filter(|server| !server.is_empty())
    }

    /// The host, if present; the first of several.
    pub fn host(&self) -> Option<&str> {
        self.url.host_str().filter(|host| !host.is_empty())
    }

    /// The port, if specified; that of the first of several hosts.
    pub fn port(&self) -> Option<u16> {
        self.url.port()
    }

    /// The path as written, percent-encoded; in a URL without `//`, everything between scheme and options.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The path in the form of this system, for a URL with `//` and no host, or with `localhost`. On Windows it begins
    /// with a drive, as in `file:///C:/folder`; with a host it is a UNC path: `file://server/share/folder`.
    pub fn file_path(&self) -> Option<PathBuf> {
        self.url.to_file_path().ok()
    }

    /// The value of an option, decoded.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The value of an optional option.
    ///
    /// # Errors
    ///
    /// If the value is not a valid `T`.
    pub fn value<T: OptionValue>(&self, option: &'static str) -> Result<Option<T>, RegistryError> {
        self.option(option)
            .map(|value| self.parse_option(option, value))
            .transpose()
    }

    /// The value of a required option.
    ///
    /// # Errors
    ///
    /// If the option is missing or empty, or its value is not a valid `T`.
    pub fn required<T: OptionValue>(&self, option: &'static str) -> Result<T, RegistryError> {
        match self.option(option) {
            Some(value) if !value.is_empty() => self.parse_option(option, value),
            _ => Err(RegistryError::MissingOption {
                scheme: self.owned_scheme(),
                option,
            }),
        }
    }

    pub(super) fn parse_option<T: OptionValue>(
        &self,
        option: &'static str,
        value: &str,
    ) -> Result<T, RegistryError> {
        T::parse(value).ok_or_else(|| self.bad_option(option, T::EXPECTED))
    }

    /// The URL with its secrets, but only with these options, for a client that accepts a URL.
    pub fn expose_with_options(&self, keep: &[&str]) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        let kept: Vec<_> = self
            .options
            .iter()
            .filter(|(name, _)| keep.contains(&name.as_str()))
            .collect();
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        let (before, after) = (&url[..Position::AfterPort], &url[Position::AfterPort..]);
        format!("{before}{}{after}", self.others)
    }

    /// Returns an error that describes the form of this scheme's URLs. Never include a part of this URL in `remedy`.
    pub fn bad_url(&self, remedy: &'static str) -> RegistryError {
        RegistryError::BadUrl {
            scheme: self.owned_scheme(),
            remedy,
        }
    }

    /// Returns an error that describes the accepted values of an option.
    pub fn bad_option(&self, option: &'static str, expected: &'static str) -> RegistryError {
        RegistryError::BadOption {
            scheme: self.owned_scheme(),
            option,
            expected,
        }
    }

    pub(super) fn refuse_other_options(&self, known: &[UrlOption]) -> Result<(), RegistryError> {
        let known: Vec<_> = known.iter().map(|option| option.name).collect();
        let Some(option) = self
            .options
            .keys()
            .find(|option| !known.contains(&option.as_str()))
        else {
            return Ok(());
        };
        let mut text = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        if let Some(meant) = similar(option, known) {
            text.push_str(&format!("; did you mean `{meant}`?"));
        }
        Err(RegistryError::UnknownOption {
            scheme: self.owned_scheme(),
            option: option.clone(),
            known: text,
        })
    }

    pub(super) fn owned_scheme(&self) -> String {
        self.scheme().to_owned()
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("StoreUrl")
            .field("scheme", &self.scheme())
            .field("options", &options)
            .finish_non_exhaustive()
    }
}

/// The range of the second and further servers in `text`. The parser supports only one server.
fn other_servers(text: &str) -> Range<usize> {
    let Some(start) = text.find("://").map(|colon| colon + 3) else {
        return 0..0;
    };
    let end = text[start..]
        .find(['/', '?', '#'])
        .map_or(text.len(), |end| start + end);
    let hosts = text[start..end]
        .rfind('@')
        .map_or(start, |at| start + at + 1);
    text[hosts..end]
        .find(',')
        .map_or(end..end, |comma| hosts + comma..end)
}
