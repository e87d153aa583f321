//! Names that were probably meant to be others.

use crate::hook::Hook;

/// Whether `written`, which is no method of the contract, looks as if it were meant to be one. `absent` lists the methods that
/// the block does not have. The answer is the most similar one of them.
pub(crate) fn lookalike(written: &str, absent: &[Hook]) -> Option<Lookalike> {
    let most_similar = || {
        let letters = letters(written);
        // What begins with `on_` was meant to be called when something happens.
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

/// What a name looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookalike {
    /// This method.
    Of(Hook),
    /// A method of the contract, all of which the block has.
    OfNone,
}

/// What a method is called elsewhere.
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

/// Whether `written` is `meant` but for one or two letters, underscores and capitals.
pub(crate) fn is_similar(written: &str, meant: &str) -> bool {
    distance(&letters(written), &letters(meant)) <= 2
}

fn letters(name: &str) -> Vec<char> {
    name.chars()
        .filter(|letter| *letter != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// The Levenshtein distance: the fewest insertions, removals and replacements.
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
