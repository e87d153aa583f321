//! Finds names that are probably misspelt methods.

use crate::hook::Hook;

/// The method that `written`, which is not a method of the contract, was probably meant to be: the most similar of
/// `absent`, the methods that the block does not have.
pub(crate) fn lookalike(written: &str, absent: &[Hook]) -> Option<Lookalike> {
    let most_similar = || {
        let letters = letters(written);
        // A name that begins with `on_` was meant to be a callback.
        let is_event = |name: &str| name.starts_with("on_");
        absent
            .iter()
            .copied()
            .filter(|hook| is_event(hook.name()) || !is_event(written))
            .min_by_key(|hook| distance(&letters, &self::letters(hook.name())))
    };
    if let Some(hook) = absent
        .iter()
        .copied()
        .find(|hook| is_similar(written, hook.name()))
    {
        return Some(Lookalike::Of(hook));
    }
    if let Some(hook) = absent
        .iter()
        .copied()
        .find(|hook| other_names(*hook).contains(&written))
    {
        return Some(Lookalike::Of(hook));
    }
    let letters: String = letters(written).into_iter().collect();
    (letters.ends_with("flagdefinitions") || letters.starts_with("onflagdefinitions"))
        .then(|| most_similar().map_or(Lookalike::OfNone, Lookalike::Of))
}

/// What a name resembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookalike {
    /// This method.
    Of(Hook),
    /// A method of the contract; the block already has all that it resembles.
    OfNone,
}

/// The names of a method in other places.
fn other_names(hook: Hook) -> &'static [&'static str] {
    match hook {
        Hook::ShouldFetch => &["should_fetch", "shouldFetch"],
        Hook::Get => &[
            "get",
            "get_flags",
            "get_definitions",
            "getFlags",
            "getDefinitions",
        ],
        Hook::Received => &[
            "on_received",
            "onReceived",
            "received",
            "set",
            "put",
            "store",
        ],
        Hook::Shutdown => &[
            "close",
            "stop",
            "on_shutdown",
            "onShutdown",
            "dispose",
            "teardown",
            "tear_down",
        ],
        Hook::Stored => &["get_stored", "peek"],
        Hook::FetchWithoutUpdate => &[
            "on_not_received",
            "onNotReceived",
            "on_unchanged",
            "on_not_modified",
        ],
        Hook::Attached => &["on_attached", "onAttached", "on_attach", "attached"],
    }
}

/// Whether `written` differs from `meant` only in one or two letters, underscores and capitals.
pub(crate) fn is_similar(written: &str, meant: &str) -> bool {
    distance(&letters(written), &letters(meant)) <= 2
}

fn letters(name: &str) -> Vec<char> {
    name.chars()
        .filter(|letter| *letter != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// The Levenshtein distance: the minimum number of insertions, removals and replacements.
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
