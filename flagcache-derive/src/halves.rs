//! Detects a provider that is split into two blocks.
//!
//! Each block is expanded on its own and does not see the other. So incomplete blocks are remembered while the compiler
//! runs: of two halves, only the first is reported and gets a trait impl.

use std::cell::RefCell;

use quote::ToTokens;
use syn::Type;

use crate::hook::Hook;

struct Half {
    ty: String,
    missing: Vec<Hook>,
}

thread_local! {
    static REPORTED: RefCell<Vec<Half>> = const { RefCell::new(Vec::new()) };
}

/// Whether a block without the methods `missing` is the other half of a reported one. If not, it is remembered.
pub(crate) fn is_second(ty: &Type, missing: &[Hook]) -> bool {
    let ty = ty.to_token_stream().to_string();
    REPORTED.with_borrow_mut(|reported| {
        let complements =
            |half: &Half| half.ty == ty && !half.missing.iter().any(|hook| missing.contains(hook));
        let second = reported.iter().any(complements);
        if !second {
            reported.push(Half {
                ty,
                missing: missing.to_vec(),
            });
        }
        second
    })
}

/// Removes what was remembered.
#[cfg(test)]
pub(crate) fn forget() {
    REPORTED.take();
}
