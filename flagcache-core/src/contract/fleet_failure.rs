//! [`FleetFailure`]: a leader's failed request to the API, recorded in the store for the whole fleet.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::FetchErrorKind;

/// Identifies a secret key without revealing it: 32 bits of a hash of both keys. Equal for workers with the same keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyFingerprint(u32);

impl KeyFingerprint {
    /// The fingerprint of a secret key, salted with the project key.
    pub fn of(project_key: &str, secret_key: &str) -> Self {
        let salt = xxh3_64_with_seed(project_key.as_bytes(), 0);
        // With 32 of 64 bits, billions of keys share a fingerprint, so it reveals nothing about the key.
        Self((xxh3_64_with_seed(secret_key.as_bytes(), salt) >> 32) as u32)
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

/// A failed request to the API that concerns the whole fleet: its kind, how many workers tried, which keys were
/// refused, and for how long no other worker needs to try.
///
/// A store keeps its text ([`Display`](fmt::Display), [`FromStr`]) beside the lock, with the time of writing, and
/// reports it with its age. The text is one line of less than 100 ASCII characters without a secret. A store that
/// elects a leader grants no leadership to a worker that it [bars](Self::bars).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetFailure {
    kind: FetchErrorKind,
    tried_by: u8,
    window: Duration,
    refused: [Option<KeyFingerprint>; FleetFailure::TRIES as usize],
    age: Duration,
}

impl FleetFailure {
    /// How many workers try in one backoff window.
    pub(crate) const TRIES: u8 = 3;

    pub(crate) fn new(kind: FetchErrorKind, tried_by: u8, window: Duration) -> Self {
        Self {
            kind,
            tried_by,
            window,
            refused: [None; Self::TRIES as usize],
            age: Duration::ZERO,
        }
    }

    /// Sets the age.
    #[must_use]
    pub fn with_age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Adds the refused keys of `earlier` and this one.
    pub(crate) fn refusing(mut self, earlier: Option<&Self>, key: Option<KeyFingerprint>) -> Self {
        let earlier = earlier
            .into_iter()
            .flat_map(|failure| failure.refused)
            .flatten();
        for key in earlier.chain(key) {
            if !self.refused.contains(&Some(key))
                && let Some(slot) = self.refused.iter_mut().find(|slot| slot.is_none())
            {
                *slot = Some(key);
            }
        }
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// How many workers tried, up to three; 0 while the first leader keeps trying.
    pub fn tried_by(&self) -> u8 {
        self.tried_by
    }

    /// For how long after it was written no other worker needs to try.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// How long ago it was written.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Whether a worker with this key must not lead now: within the window, if the API refused this key or three keys
    /// (401, 403). A leader with a refused key would only keep a worker with a good key from leading.
    pub fn bars(&self, key: Option<KeyFingerprint>) -> bool {
        self.age < self.window && self.refuses(key)
    }

    /// Whether the API refused this key, whatever the failure's age.
    pub(crate) fn refuses(&self, key: Option<KeyFingerprint>) -> bool {
        self.kind == FetchErrorKind::Unauthorized
            && (self.tried_by >= Self::TRIES
                || key.is_some_and(|key| self.refused.contains(&Some(key))))
    }
}

/// `<kind> <tried by> <window in ms> <refused keys>`; the keys are separated by commas, `*` stands for all keys, `-` for none.
impl fmt::Display for FleetFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} ",
            self.kind,
            self.tried_by,
            self.window.as_millis()
        )?;
        if self.kind != FetchErrorKind::Unauthorized
            || self.refused[0].is_none() && self.tried_by < Self::TRIES
        {
            return f.write_str("-");
        }
        if self.tried_by >= Self::TRIES {
            return f.write_str("*");
        }
        for (index, key) in self.refused.iter().flatten().enumerate() {
            write!(f, "{}{key}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The text is not that of a [`FleetFailure`]. Treat it as no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetFailureError;

impl fmt::Display for FleetFailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a valid record of a failed request; ignored, and replaced by the next leader",
        )
    }
}

impl std::error::Error for FleetFailureError {}

impl FromStr for FleetFailure {
    type Err = FleetFailureError;

    fn from_str(text: &str) -> Result<Self, FleetFailureError> {
        let mut fields = text.split_ascii_whitespace();
        let mut field = || fields.next().ok_or(FleetFailureError);
        let kind = FetchErrorKind::from_name(field()?).ok_or(FleetFailureError)?;
        let tried_by: u8 = field()?.parse().map_err(|_| FleetFailureError)?;
        let window = field()?
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| FleetFailureError)?;
        // Anyone with access to the store can write this text, so it must not be able to block a fleet for long.
        let window = window.min(Self::LONGEST_WINDOW);
        let mut failure = Self::new(kind, tried_by.min(Self::TRIES), window);
        for key in field()?
            .split(',')
            .filter(|keys| !matches!(*keys, "*" | "-"))
        {
            let key = u32::from_str_radix(key, 16).map_err(|_| FleetFailureError)?;
            failure = failure.refusing(None, Some(KeyFingerprint(key)));
        }
        Ok(failure)
    }
}

impl FleetFailure {
    /// Twice the longest `Retry-After` that is honoured.
    const LONGEST_WINDOW: Duration = Duration::from_secs(2 * 60 * 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_all_but_the_age_and_shows_no_key() {
        let (a, b) = (
            KeyFingerprint::of("phc_p", "phs_a"),
            KeyFingerprint::of("phc_p", "phs_b"),
        );
        assert_ne!(a, b);
        assert_ne!(
            a,
            KeyFingerprint::of("phc_q", "phs_a"),
            "salted with the project"
        );
        let first = FleetFailure::new(FetchErrorKind::Unauthorized, 1, Duration::from_secs(30))
            .refusing(None, Some(a));
        let second = FleetFailure::new(FetchErrorKind::Unauthorized, 2, Duration::from_secs(30))
            .refusing(Some(&first), Some(b));
        for failure in [
            first,
            second,
            FleetFailure::new(FetchErrorKind::RateLimited, 1, Duration::from_millis(1500)),
        ] {
            let text = failure.to_string();
            assert!(text.len() < 100 && !text.contains("ph"), "{text}");
            assert_eq!(text.parse(), Ok(failure));
        }
        assert!(first.bars(Some(a)) && !first.bars(Some(b)) && !first.bars(None));
        assert!(second.bars(Some(a)) && second.bars(Some(b)));
        assert!(
            !first.with_age(Duration::from_secs(30)).bars(Some(a)),
            "the window is over"
        );
    }

    #[test]
    fn three_refused_keys_bar_all_and_no_other_kind_bars_any() {
        let all = FleetFailure::new(FetchErrorKind::Unauthorized, 3, Duration::from_secs(1));
        assert!(all.bars(None) && all.to_string().parse::<FleetFailure>().unwrap().bars(None));
        assert!(!FleetFailure::new(FetchErrorKind::Connect, 3, Duration::from_secs(1)).bars(None));
    }

    #[test]
    fn foreign_text_is_refused_or_bounded() {
        for text in [
            "",
            "x",
            "unauthorized",
            "unauthorized 1",
            "unauthorized 1 x -",
            "unauthorized 1 1 zz",
            "ok 1 1 -",
        ] {
            assert_eq!(
                text.parse::<FleetFailure>(),
                Err(FleetFailureError),
                "{text:?}"
            );
        }
        let long: FleetFailure = "server 200 18446744073709551615 -".parse().unwrap();
        assert!(long.window() <= Duration::from_secs(7200) && long.tried_by() == 3);
    }
}
