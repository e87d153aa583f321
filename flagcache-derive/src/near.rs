//! Names that were probably meant to be others.

/// Whether `written` is `meant` but for one or two letters, underscores and capitals.
pub(crate) fn is_near(written: &str, meant: &str) -> bool {
    let letters = |name: &str| -> Vec<char> {
        name.chars()
            .filter(|letter| *letter != '_')
            .flat_map(char::to_lowercase)
            .collect()
    };
    distance(&letters(written), &letters(meant)) <= 2
}

/// Levenshtein's: the fewest insertions, removals and replacements.
fn distance(from: &[char], to: &[char]) -> usize {
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
