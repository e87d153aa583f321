//! Regular expressions that all of PostHog's SDKs understand alike.

use regex::Regex;

/// The expression of a condition.
#[derive(Debug)]
pub(crate) enum Pattern {
    Compiled(Regex),
    /// No SDK can compile it: it matches nothing, and neither does its negation.
    Invalid,
    /// The SDKs may read it differently.
    Unsupported,
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        match Scan::of(pattern) {
            Shape::Invalid => Self::Invalid,
            Shape::Unsupported => Self::Unsupported,
            Shape::Shared => Regex::new(pattern).map_or(Self::Unsupported, Self::Compiled),
        }
    }
}

/// Whether all SDKs find the same in such a text: line ends and other alphabets part them.
pub(crate) fn is_searched_alike(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[derive(Debug, PartialEq)]
enum Shape {
    Shared,
    Invalid,
    Unsupported,
}

/// What came before, as far as a quantifier may or may not follow it.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Atom,
    /// A group with a quantifier in it: repeated again, it may take a backtracking engine forever.
    RepeatingGroup,
    Quantifier,
}

struct Scan<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    before: Before,
    /// The open groups: whether a quantifier is in each, and whether anything is.
    groups: Vec<(bool, bool)>,
}

/// Escaped, they stand for themselves everywhere.
const ESCAPABLE: &str = r"\-[]^.$*+?(){}|/";

impl<'a> Scan<'a> {
    fn of(pattern: &'a str) -> Shape {
        if !is_searched_alike(pattern) {
            return Shape::Unsupported;
        }
        let scan = Self {
            rest: pattern.chars().peekable(),
            before: Before::Nothing,
            groups: Vec::new(),
        };
        scan.run().unwrap_or(Shape::Unsupported)
    }

    /// `None` for what the SDKs may read differently.
    fn run(mut self) -> Option<Shape> {
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
                        self.before = if repeats {
                            Before::RepeatingGroup
                        } else {
                            Before::Atom
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
                    self.before = Before::Nothing;
                    self.note_content();
                }
                _ => self.atom(),
            }
        }
        is_invalid |= !self.groups.is_empty();
        Some(if is_invalid {
            Shape::Invalid
        } else {
            Shape::Shared
        })
    }

    fn atom(&mut self) {
        self.before = Before::Atom;
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
        self.before = Before::Nothing;
        Some(())
    }

    /// The rest of a class; `false` if it has no end.
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
                    // Not a class in a class: `[\w-.]` is a range in some engines.
                    (ESCAPABLE.contains(escaped) && escaped != '/').then_some(())?;
                }
                _ => {}
            }
            is_empty = false;
            last = next;
        }
        Some(false)
    }

    /// `{2}`, `{2,}`, `{2,5}`, up to its end.
    fn bounds(&mut self) -> Option<()> {
        let mut inside = String::new();
        loop {
            match self.rest.next()? {
                '}' => break,
                next => inside.push(next),
            }
        }
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u8>().ok())?
        };
        let least = number(least)?;
        if !most.is_empty() && number(most)? < least {
            return None;
        }
        (least <= 100).then_some(())
    }

    fn quantifier(&mut self) -> Option<()> {
        if self.before != Before::Atom {
            return None;
        }
        self.rest.next_if_eq(&'?');
        self.before = Before::Quantifier;
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
    fn only_what_all_sdks_understand_is_compiled() {
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
            assert_eq!(Scan::of(pattern), Shape::Shared, "{pattern}");
            assert!(
                matches!(Pattern::new(pattern), Pattern::Compiled(_)),
                "{pattern}"
            );
        }
        for pattern in ["p(ro", "pro)", "[a-z", "(a(b)"] {
            assert_eq!(Scan::of(pattern), Shape::Invalid, "{pattern}");
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
        let unsupported = [
            "größer", r"\bfoo", "(?i)a", "(a+)+", "()", "*a", "a**", "a++", "^*", "a{2", "a}",
            "[]a]", "[[a]]",
        ];
        for pattern in unsupported.into_iter().chain([
            r"[\w-.]", "[a&&b]", r"\1", "(?<n>a)", "a{101}", r"\", "a{2}{3}",
        ]) {
            assert_eq!(Scan::of(pattern), Shape::Unsupported, "{pattern}");
        }
    }
}
