//! Text from outside in logs and errors.

use std::borrow::Cow;

/// `text` with everything escaped that could end the line, steer a terminal or turn the writing round: the keys of flags, and
/// what servers say, are others' words, and must not forge a line of a log.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if steers(letter) {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

fn steers(letter: char) -> bool {
    // Beside control characters: separators of lines, and marks and overrides of the direction.
    letter.is_control()
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_line_is_escaped_and_all_else_is_left() {
        assert!(matches!(escaped("größe-日本 \\ \"x\""), Cow::Borrowed(_)));
        let forged = "a\r\n\u{1b}[2K INFO all is well\u{85}\u{9b}\u{2028}\u{202e}\0";
        assert_eq!(
            escaped(forged),
            r"a\r\n\u{1b}[2K INFO all is well\u{85}\u{9b}\u{2028}\u{202e}\u{0}"
        );
    }
}
