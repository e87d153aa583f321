//! Prepares foreign text for logs and errors: escapes it, and prints an error with its causes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::iter::successors;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Escapes every character that could end the line, control a terminal or reverse the text direction: flag keys and
/// server messages are untrusted and must not forge log lines.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unsafe(letter) {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(letter: char) -> bool {
    // Besides control characters: line separators, and direction marks and overrides.
    letter.is_control()
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// A bound on cycles: no error has this many causes.
const MAX_CAUSES: usize = 32;

/// A cause may hold a page of HTML that a server answered.
const MAX_CAUSE_BYTES: usize = 2_000;

/// An error and its causes on one line. The causes are the user's code: they may panic, or form a cycle.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let causes = || {
        for error in successors(error.source(), |&error| error.source()).take(MAX_CAUSES) {
            let mut cause = String::new();
            // Keep what was written before the error's `Display` failed.
            let _ = write!(cause, "{error}");
            if let Some(end) = (0..=MAX_CAUSE_BYTES)
                .rev()
                .find(|&end| cause.is_char_boundary(end))
                .filter(|&end| end < cause.len())
            {
                cause.truncate(end);
                cause.push('…');
            }
            // Many errors repeat their cause in their own text.
            if cause.is_empty() || !message.ends_with(&cause) {
                message.push_str(": ");
                message.push_str(&cause);
            }
        }
    };
    if catch_unwind(AssertUnwindSafe(causes)).is_err() {
        message.push_str(": a cause whose Display panics");
    }
    match escaped(&message) {
        Cow::Borrowed(_) => message,
        Cow::Owned(escaped) => escaped,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::{ProviderError, ProviderErrorKind};

    #[test]
    fn what_could_forge_a_line_is_escaped_and_all_else_is_left() {
        assert!(matches!(escaped("größe-日本 \\ \"x\""), Cow::Borrowed(_)));
        let forged = "a\r\n\u{1b}[2K INFO all is well\u{85}\u{9b}\u{2028}\u{202e}\0";
        assert_eq!(
            escaped(forged),
            r"a\r\n\u{1b}[2K INFO all is well\u{85}\u{9b}\u{2028}\u{202e}\u{0}"
        );
    }

    #[derive(Debug)]
    enum LoadCause {
        NamesItself,
        Panics,
        Fails,
    }

    impl fmt::Display for LoadCause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::NamesItself => f.write_str("again"),
                Self::Panics => panic!("shown"),
                Self::Fails => Err(fmt::Error),
            }
        }
    }

    impl Error for LoadCause {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            matches!(self, Self::NamesItself).then_some(self)
        }
    }

    #[test]
    fn errors_escape_line_ends_for_logs() {
        let error = ProviderError::new(ProviderErrorKind::Other, "down\n all is well")
            .with_source("\u{1b}[2K".to_owned());
        assert_eq!(chain(&error), r"down\n all is well: \u{1b}[2K");
    }

    #[test]
    fn b4_40_an_error_whose_display_fails_or_panics_is_still_reported() {
        for (cause, shown) in [
            (LoadCause::NamesItself, "down: again"),
            (LoadCause::Panics, "down: "),
            (LoadCause::Fails, "down: "),
        ] {
            let error =
                ProviderError::new(ProviderErrorKind::Unavailable, "down").with_source(cause);
            let message = chain(&error);
            assert!(
                message.starts_with(shown) && message.len() < 1000,
                "{message}"
            );
        }
    }

    #[test]
    fn a_long_cause_is_cut() {
        let error =
            ProviderError::new(ProviderErrorKind::Other, "down").with_source("ü".repeat(1_000_000));
        let message = chain(&error);
        assert!(message.starts_with("down: üüü") && message.ends_with("ü…"));
        assert!(message.len() < 2_100, "{} bytes", message.len());
    }

    #[test]
    fn a_cause_that_its_effect_says_already_is_not_said_again() {
        let (inner, outer) = ("no route", "cannot connect: no route");
        let cause = ProviderError::new(ProviderErrorKind::Unavailable, outer).with_source(inner);
        let error = ProviderError::new(ProviderErrorKind::Unavailable, "down").with_source(cause);
        assert_eq!(chain(&error), "down: cannot connect: no route");
    }
}
