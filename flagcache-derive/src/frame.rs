//! The frame of an attribute: its output for any input.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::Path;

use crate::args::{self, CratePath};
use crate::contract::Forward;
use crate::errors::Errors;
use crate::expand::expand;
use crate::fallback::fallback;
use crate::parse::Block;
use crate::{checks, misuse};

/// The user's item, unchanged, followed by the trait impl; or, if there are errors, by them and a fallback impl that
/// prevents further errors in the file.
pub(crate) fn generate<M: Forward>(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let krate = args::parse(args, M::ATTRIBUTE, &mut errors);
    let item = ungroup(item);
    if !misuse::is_impl(&item) {
        return misuse::refuse::<M>(item, &krate, errors);
    }
    match Block::parse(item.clone(), &mut errors) {
        Ok(block) => block_and_impl::<M>(item, block, &krate, errors),
        Err(error) => {
            errors.push(error);
            let errors = errors.into_compile_errors();
            quote!(#item #errors)
        }
    }
}

fn block_and_impl<M: Forward>(
    item: TokenStream,
    mut block: Block,
    krate: &CratePath,
    mut errors: Errors,
) -> TokenStream {
    let async_trait: Vec<_> = block
        .header
        .attrs
        .extract_if(.., |it| ends_with(it.path(), "async_trait"))
        .collect();
    // From here on, treat a block with a trait as the inherent block that was meant.
    let trait_path = block.header.trait_.take().map(|(path, _)| path);
    match &trait_path {
        Some(path) if ends_with(path, M::TRAIT) => {
            // An `#[async_trait]` above this attribute ran first, and left its lifetime in the methods.
            let ran_first = block.methods().any(|it| {
                it.signature
                    .generics
                    .lifetimes()
                    .any(|it| it.lifetime.ident == "async_trait")
            });
            let as_well = if async_trait.is_empty() && !ran_first {
                ""
            } else {
                "`#[async_trait]` and "
            };
            let message = format!(
                "the impl of the trait is generated for an inherent `impl` block; remove {as_well}`{} for`",
                M::TRAIT
            );
            errors.on(path, message);
        }
        Some(path) => {
            let message = format!(
                "`#[{}]` goes on an inherent `impl` block, not on the impl of a trait",
                M::ATTRIBUTE
            );
            errors.on(path, message);
            let errors = errors.into_compile_errors();
            return quote!(#item #errors);
        }
        None => {
            for attribute in async_trait {
                errors.on(attribute, "`#[async_trait]` is not needed here; remove it");
            }
        }
    }
    let second_half = checks::check::<M>(&mut block, &mut errors);
    let implementation = if second_half {
        TokenStream::new()
    } else if errors.is_empty() {
        expand::<M>(&block, krate)
    } else {
        fallback::<M>(
            &block.header.generics,
            &block.header.self_ty,
            krate,
            trait_path.as_ref(),
        )
    };
    let errors = errors.into_compile_errors();
    quote!(#block #errors #implementation)
}

fn ends_with(path: &Path, name: &str) -> bool {
    path.segments
        .last()
        .is_some_and(|segment| segment.ident == name)
}

/// An item from a `macro_rules!` variable is a group without delimiters.
fn ungroup(item: TokenStream) -> TokenStream {
    let mut tokens = item.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::None => {
            ungroup(group.stream())
        }
        _ => item.into_token_stream(),
    }
}
