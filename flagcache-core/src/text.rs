//! Escapes foreign text for logs and errors.

use std::borrow::Cow;

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
