//! Finds names that are probably misspelt methods.

/// What a name resembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookalike<M> {
    /// This method.
    Of(M),
    /// A method of the contract; the block already has all that it resembles.
    OfNone,
}

/// Whether `written` differs from `meant` only in one or two letters, underscores and capitals.
pub(crate) fn is_similar(written: &str, meant: &str) -> bool {
    distance(&letters(written), &letters(meant)) <= 2
}

pub(crate) fn letters(name: &str) -> Vec<char> {
    name.chars()
        .filter(|letter| *letter != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// The Levenshtein distance: the minimum number of insertions, removals and replacements.
pub(crate) fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let best = if a == b {
                diagonal
            } else {
                1 + diagonal.min(left).min(*above)
            };
            diagonal = *above;
            *above = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
