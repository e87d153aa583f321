//! Detects a provider or a store that is split into two blocks.
//!
//! Each block is expanded on its own and does not see the other. So incomplete blocks are remembered while the compiler
//! runs: of two halves, only the first is reported and gets a trait impl.

use std::cell::RefCell;

use quote::ToTokens;
use syn::Type;

use crate::contract::Contract;

struct Half {
    contract: &'static str,
    ty: String,
    missing: Vec<&'static str>,
}

thread_local! {
    static REPORTED: RefCell<Vec<Half>> = const { RefCell::new(Vec::new()) };
}

/// Whether a block without the methods `missing` is the other half of a reported one. If not, it is remembered.
pub(crate) fn is_second<M: Contract>(ty: &Type, missing: &[M]) -> bool {
    let half = Half {
        contract: M::TRAIT,
        ty: ty.to_token_stream().to_string(),
        missing: missing.iter().map(|method| method.name()).collect(),
    };
    REPORTED.with_borrow_mut(|reported| {
        let complements = |other: &Half| {
            (other.contract, &other.ty) == (half.contract, &half.ty)
                && !other.missing.iter().any(|name| half.missing.contains(name))
        };
        let second = reported.iter().any(complements);
        if !second {
            reported.push(half);
        }
        second
    })
}

/// Removes what was remembered.
#[cfg(test)]
pub(crate) fn forget() {
    REPORTED.take();
}
