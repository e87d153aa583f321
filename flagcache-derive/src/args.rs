//! Parses the arguments of the attribute.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{LitStr, Path, Token};

use crate::errors::Errors;
use crate::externs;

/// The crate path that the expansion uses.
pub(crate) enum CratePath {
    /// `::flagcache`
    Default,
    /// `crate = path`
    Explicit(Path),
}

impl ToTokens for CratePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Self::Default => quote!(::flagcache),
            Self::Explicit(path) => path.to_token_stream(),
        });
    }
}

impl CratePath {
    /// Names `macro_support` once, so that an invalid crate path is one error.
    pub(crate) fn in_scope(&self, items: TokenStream) -> TokenStream {
        quote! {
            const _: () = {
                use #self::macro_support as __flagcache;
                #items
            };
        }
    }
}

/// Parses the arguments of `attribute`. The block is checked even if they are invalid.
pub(crate) fn parse(args: TokenStream, attribute: &str, errors: &mut Errors) -> CratePath {
    let mut path = None;
    let mut read = |input: ParseStream| {
        while !input.is_empty() {
            argument(input, &mut path, errors)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = Parser::parse2(&mut read, args) {
        errors.push(error);
    }
    if path.is_none()
        && errors.is_empty()
        && let Some(name) = externs::other_name()
    {
        let message = format!(
            "this crate knows flagcache as `{name}`; write `#[{attribute}(crate = {name})]`"
        );
        errors.at(Span::call_site(), message);
        return CratePath::Explicit(Ident::new(&name, Span::call_site()).into());
    }
    path.map_or(CratePath::Default, CratePath::Explicit)
}

fn argument(input: ParseStream, path: &mut Option<Path>, errors: &mut Errors) -> syn::Result<()> {
    let span = input.span();
    let Ok(key) = input.call(Ident::parse_any) else {
        return Err(syn::Error::new(
            span,
            "expected `crate = path`, the only argument",
        ));
    };
    if key == "blocking" || key == "helper" {
        let message = "write `#[flag_cache(WORD)]` on the method that it is meant for; the block takes `crate = path` alone";
        errors.at(key.span(), message.replace("WORD", &key.to_string()));
        skip_to_comma(input)?;
        return Ok(());
    }
    if key != "crate" {
        errors.at(
            key.span(),
            format_args!("unknown argument `{key}`; the only one is `crate = path`"),
        );
        skip_to_comma(input)?;
        return Ok(());
    }
    let value = value(input, &key, errors)?;
    if path.is_some() {
        errors.at(key.span(), "`crate` is given more than once");
    }
    path.get_or_insert(value);
    Ok(())
}

fn value(input: ParseStream, key: &Ident, errors: &mut Errors) -> syn::Result<Path> {
    if !input.peek(Token![=]) {
        return Err(syn::Error::new(
            key.span(),
            "`crate` needs a path, as in `crate = flagcache_core`",
        ));
    }
    input.parse::<Token![=]>()?;
    let span = input.span();
    if let Ok(quoted) = input.parse::<LitStr>() {
        errors.at(
            span,
            format_args!(
                "write the path without quotes: `crate = {}`",
                quoted.value()
            ),
        );
        return quoted.parse_with(Path::parse_mod_style);
    }
    input
        .call(Path::parse_mod_style)
        .map_err(|_| syn::Error::new(span, "expected a path, as in `crate = flagcache_core`"))
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}
