//! From the attribute's input to its output, whatever the input is.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};

use crate::args::{self, CratePath};
use crate::errors::Errors;
use crate::parse::Block;
use crate::{expand, fallback, validate, wrong_item};

const PROVIDER_TRAIT: &str = "FlagDefinitionCacheProvider";

/// The user's item, first and unchanged, and after it the trait impl; or, if something is wrong, the errors and a trait
/// impl that keeps the rest of the file free of other ones.
pub(crate) fn generate(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let krate = args::parse(args, &mut errors);
    let item = ungroup(item);
    if !wrong_item::is_impl(&item) {
        return wrong_item::refuse(item, &krate, errors);
    }
    match Block::parse(item.clone(), &mut errors) {
        Ok(block) => block_and_impl(item, block, &krate, errors),
        Err(error) => {
            errors.push(error);
            let errors = errors.into_compile_errors();
            quote!(#item #errors)
        }
    }
}

fn block_and_impl(
    item: TokenStream,
    mut block: Block,
    krate: &CratePath,
    mut errors: Errors,
) -> TokenStream {
    // A block with a trait goes on as the inherent one that was meant.
    let trait_path = block.header.trait_.take().map(|(path, _)| path);
    if let Some(path) = &trait_path {
        let message = "`#[flag_cache_provider]` goes on an inherent `impl` block; remove `Trait for`, the trait impl is generated";
        errors.on(path, message);
        if path
            .segments
            .last()
            .is_none_or(|segment| segment.ident != PROVIDER_TRAIT)
        {
            let errors = errors.into_compile_errors();
            return quote!(#item #errors);
        }
    }
    validate::validate(&mut block, &mut errors);
    let provider = if errors.is_empty() {
        expand::expand(&block, krate)
    } else {
        fallback::provider(
            &block.header.generics,
            &block.header.self_ty,
            krate,
            trait_path.as_ref(),
        )
    };
    let errors = errors.into_compile_errors();
    quote!(#block #errors #provider)
}

/// An item that came through a `macro_rules!` variable is a group without delimiters.
fn ungroup(item: TokenStream) -> TokenStream {
    let mut tokens = item.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::None => {
            ungroup(group.stream())
        }
        _ => item.into_token_stream(),
    }
}
