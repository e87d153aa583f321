//! The `#[flag_cache_provider]` attribute.

mod args;
mod errors;
mod expand;
mod fallback;
mod generate;
mod hook;
mod mark;
mod near;
mod parse;
mod place;
mod returns;
mod validate;
mod wrong_item;

/// Makes a flag definition cache provider of an `impl` block.
#[proc_macro_attribute]
pub fn flag_cache_provider(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    generate::generate(args.into(), item.into()).into()
}
