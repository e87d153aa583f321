//! The arguments of the attribute.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{LitStr, Path, Token};

use crate::errors::Errors;

/// The crate that the expansion names.
pub(crate) enum CratePath {
    /// `::flagcache`
    Default,
    /// `crate = path`
    Explicit(Path),
}

impl CratePath {
    /// The path as if it were written at `span`, so that an error in an expression that begins with it is shown there.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        match self {
            Self::Default => quote_spanned!(span=> ::flagcache),
            Self::Explicit(path) => {
                let mut path = path.clone();
                if let Some(colons) = &mut path.leading_colon {
                    *colons = Token![::](span);
                }
                for pair in path.segments.pairs_mut() {
                    let (segment, colons) = pair.into_tuple();
                    // `$crate` finds its crate by its span.
                    let location =
                        if segment.ident == "$crate" { span.resolved_at(segment.ident.span()) } else { span };
                    segment.ident.set_span(location);
                    if let Some(colons) = colons {
                        *colons = Token![::](span);
                    }
                }
                path.into_token_stream()
            }
        }
    }
}

impl ToTokens for CratePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Self::Default => quote!(::flagcache),
            Self::Explicit(path) => path.to_token_stream(),
        });
    }
}

/// Reads the arguments. Whatever is wrong with them, the block below can still be checked.
pub(crate) fn parse(args: TokenStream, errors: &mut Errors) -> CratePath {
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
    path.map_or(CratePath::Default, CratePath::Explicit)
}

fn argument(input: ParseStream, path: &mut Option<Path>, errors: &mut Errors) -> syn::Result<()> {
    let key = match input.call(Ident::parse_any) {
        Ok(key) => key,
        Err(error) => return Err(syn::Error::new(error.span(), "expected `crate = path`, the only argument")),
    };
    if key != "crate" {
        errors.at(key.span(), format_args!("unknown argument `{key}`; the only one is `crate = path`"));
        skip_to_comma(input)?;
        return Ok(());
    }
    let value = value(input, &key)?;
    if path.is_some() {
        errors.at(key.span(), "`crate` is given more than once");
    }
    path.get_or_insert(value);
    Ok(())
}

fn value(input: ParseStream, key: &Ident) -> syn::Result<Path> {
    if !input.peek(Token![=]) {
        return Err(syn::Error::new(key.span(), "`crate` needs a path, as in `crate = flagcache_core`"));
    }
    input.parse::<Token![=]>()?;
    if let Ok(quoted) = input.parse::<LitStr>() {
        let message = format!("write the path without quotes: `crate = {}`", quoted.value());
        return Err(syn::Error::new(quoted.span(), message));
    }
    match input.call(Path::parse_mod_style) {
        Ok(path) => Ok(path),
        Err(error) => Err(syn::Error::new(error.span(), "expected a path, as in `crate = flagcache_core`")),
    }
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}
