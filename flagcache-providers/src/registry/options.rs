//! [`UrlOption`] and [`OptionValue`]: the options of a URL, and their values.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// An option that may follow the question mark of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlOption {
    /// The name.
    pub name: &'static str,
    /// The description; may be empty.
    pub description: &'static str,
    /// Whether the option is required.
    pub required: bool,
    /// The default value, written as in a URL.
    pub default: Option<&'static str>,
    /// The schemes that have the option; empty if all schemes of the provider have it.
    pub schemes: &'static [&'static str],
}

impl UrlOption {
    /// A required option.
    pub const fn required(name: &'static str, description: &'static str) -> Self {
        Self {
            required: true,
            ..Self::optional(name, description)
        }
    }

    /// An optional option.
    pub const fn optional(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            required: false,
            default: None,
            schemes: &[],
        }
    }

    /// Sets the default value.
    #[must_use]
    pub const fn with_default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// Limits the option to these schemes.
    #[must_use]
    pub const fn with_schemes(mut self, schemes: &'static [&'static str]) -> Self {
        self.schemes = schemes;
        self
    }

    pub(super) fn belongs_to(&self, scheme: &str) -> bool {
        self.schemes.is_empty() || self.schemes.contains(&scheme)
    }
}

/// The type of an option's value. Implement it for a type of your own, for example an enum of the accepted values.
///
/// ```
/// use flagcache_providers::registry::OptionValue;
///
/// enum Consistency {
///     Local,
///     Quorum,
/// }
///
/// impl OptionValue for Consistency {
///     const EXPECTED: &'static str = "local or quorum";
///
///     fn parse(text: &str) -> Option<Self> {
///         match text {
///             "local" => Some(Self::Local),
///             "quorum" => Some(Self::Quorum),
///             _ => None,
///         }
///     }
/// }
/// # let _ = (Consistency::Local, Consistency::Quorum);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an option",
    label = "an option cannot have this type",
    note = "options are `String`, `bool`, `u16`, `u32`, `u64`, `Duration`, `PathBuf`, `SecretString`, or an `Option` of one \
            of these",
    note = "implement `OptionValue` for a type of your own; mark the field of the URL itself `#[open_provider(url)]`"
)]
pub trait OptionValue: Sized {
    /// The accepted values. The error for an invalid value shows this text after "give": `true or false`.
    const EXPECTED: &'static str;

    /// Parses the text, which is percent-decoded. Returns `None` if it is invalid.
    fn parse(text: &str) -> Option<Self>;
}

impl OptionValue for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl OptionValue for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

/// `Debug` does not show the value.
impl OptionValue for SecretString {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

macro_rules! whole_numbers {
    ($($number:ty: $expected:literal),*) => {$(
        impl OptionValue for $number {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

whole_numbers! {
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number from 0 to 18446744073709551615"
}

/// A whole number with a unit: `500ms`, `10s`, `5m`, `24h`.
impl OptionValue for Duration {
    const EXPECTED: &'static str = "a whole number with a unit: 500ms, 10s, 5m, 24h";

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
            _ => None,
        }
    }
}

/// The most similar of `names`, which differs from `written` in at most two letters.
pub(super) fn similar<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}
