//! [`Pattern`]: regular expressions that all of PostHog's SDKs interpret identically.

use regex::Regex;

/// The regular expression of a condition.
#[derive(Debug)]
pub(crate) enum Pattern {
    Compiled(Regex),
    /// Invalid in all SDKs: neither the operator nor its negation matches.
    Invalid,
    /// The SDKs may interpret it differently.
    Unsupported,
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        match Scanner::classify(pattern) {
            Syntax::Invalid => Self::Invalid,
            Syntax::Unsupported => Self::Unsupported,
            Syntax::Portable => Regex::new(pattern).map_or(Self::Unsupported, Self::Compiled),
        }
    }
}

/// Whether all SDKs search this text identically. They differ for line breaks and non-ASCII characters.
pub(crate) fn is_portable_text(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The classification of a pattern's syntax.
#[derive(Debug, PartialEq)]
enum Syntax {
    Portable,
    Invalid,
    Unsupported,
}

/// The preceding element, which determines whether a quantifier may follow.
#[derive(Clone, Copy, PartialEq)]
enum Previous {
    Nothing,
    Atom,
    /// A group that contains a quantifier. Repeating it may cause catastrophic backtracking in other engines.
    RepeatingGroup,
    Quantifier,
}

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    previous: Previous,
    /// The unclosed groups: whether each contains a quantifier, and whether it contains anything.
    groups: Vec<(bool, bool)>,
}

/// Characters that every engine treats as literals when escaped.
const ESCAPABLE: &str = r"\-[]^.$*+?(){}|/";

impl<'a> Scanner<'a> {
    fn classify(pattern: &'a str) -> Syntax {
        if !is_portable_text(pattern) {
            return Syntax::Unsupported;
        }
        let scan = Self {
            rest: pattern.chars().peekable(),
            previous: Previous::Nothing,
            groups: Vec::new(),
        };
        scan.run().unwrap_or(Syntax::Unsupported)
    }

    /// `None` if the SDKs may interpret the pattern differently.
    fn run(mut self) -> Option<Syntax> {
        let mut is_invalid = false;
        while let Some(next) = self.rest.next() {
            match next {
                '\\' => self.escape("dDsSwW")?,
                '[' => match self.class()? {
                    true => self.atom(),
                    false => is_invalid = true,
                },
                '(' => self.open_group()?,
                ')' => match self.groups.pop() {
                    Some((repeats, true)) => {
                        self.previous = if repeats {
                            Previous::RepeatingGroup
                        } else {
                            Previous::Atom
                        };
                        if let Some((outer_repeats, has_content)) = self.groups.last_mut() {
                            *outer_repeats |= repeats;
                            *has_content = true;
                        }
                    }
                    Some((_, false)) => return None,
                    None => is_invalid = true,
                },
                '*' | '+' | '?' => self.quantifier()?,
                '{' => {
                    self.bounds()?;
                    self.quantifier()?;
                }
                '}' => return None,
                '|' | '^' | '$' => {
                    self.previous = Previous::Nothing;
                    self.note_content();
                }
                _ => self.atom(),
            }
        }
        is_invalid |= !self.groups.is_empty();
        Some(if is_invalid {
            Syntax::Invalid
        } else {
            Syntax::Portable
        })
    }

    fn atom(&mut self) {
        self.previous = Previous::Atom;
        self.note_content();
    }

    fn note_content(&mut self) {
        if let Some((_, has_content)) = self.groups.last_mut() {
            *has_content = true;
        }
    }

    fn escape(&mut self, classes: &str) -> Option<()> {
        let escaped = self.rest.next()?;
        self.atom();
        (ESCAPABLE.contains(escaped) || classes.contains(escaped)).then_some(())
    }

    fn open_group(&mut self) -> Option<()> {
        if self.rest.next_if_eq(&'?').is_some() {
            self.rest.next_if_eq(&':')?;
        }
        self.groups.push((false, false));
        self.previous = Previous::Nothing;
        Some(())
    }

    /// Reads the rest of a character class; `false` if it is not closed.
    fn class(&mut self) -> Option<bool> {
        self.rest.next_if_eq(&'^');
        let mut is_empty = true;
        let mut last = ' ';
        while let Some(next) = self.rest.next() {
            match next {
                ']' if is_empty => return None,
                ']' => return Some(true),
                '[' => return None,
                // A set operation in some engines.
                '&' | '~' | '-' if last == next => return None,
                '\\' => {
                    let escaped = self.rest.next()?;
                    // No class escapes inside a class: `[\w-.]` is a range in some engines.
                    (ESCAPABLE.contains(escaped) && escaped != '/').then_some(())?;
                }
                _ => {}
            }
            is_empty = false;
            last = next;
        }
        Some(false)
    }

    /// Reads the rest of bounds such as `{2}`, `{2,}` and `{2,5}`.
    fn bounds(&mut self) -> Option<()> {
        let mut inside = String::new();
        loop {
            match self.rest.next()? {
                '}' => break,
                next => inside.push(next),
            }
        }
        let (min, max) = inside.split_once(',').unwrap_or((&inside, &inside));
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u8>().ok())?
        };
        let min = number(min)?;
        if !max.is_empty() && number(max)? < min {
            return None;
        }
        (min <= 100).then_some(())
    }

    fn quantifier(&mut self) -> Option<()> {
        if self.previous != Previous::Atom {
            return None;
        }
        self.rest.next_if_eq(&'?');
        self.previous = Previous::Quantifier;
        if let Some((repeats, _)) = self.groups.last_mut() {
            *repeats = true;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_portable_patterns_are_compiled() {
        for pattern in [
            "",
            r"^.*@example\.(com|org)$",
            r"\d+",
            "a{2,3}?b",
            "[^a-z.]x",
            "(?:ab)+",
            "a|b",
            r"[\]\-]",
        ] {
            assert_eq!(Scanner::classify(pattern), Syntax::Portable, "{pattern}");
            assert!(
                matches!(Pattern::new(pattern), Pattern::Compiled(_)),
                "{pattern}"
            );
        }
        for pattern in ["p(ro", "pro)", "[a-z", "(a(b)"] {
            assert_eq!(Scanner::classify(pattern), Syntax::Invalid, "{pattern}");
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
        let unsupported = [
            "größer", r"\bfoo", "(?i)a", "(a+)+", "()", "*a", "a**", "a++", "^*", "a{2", "a}",
            "[]a]", "[[a]]",
        ];
        for pattern in unsupported.into_iter().chain([
            r"[\w-.]", "[a&&b]", r"\1", "(?<n>a)", "a{101}", r"\", "a{2}{3}",
        ]) {
            assert_eq!(Scanner::classify(pattern), Syntax::Unsupported, "{pattern}");
        }
    }
}
