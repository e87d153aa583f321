//! Handles the attribute on an item that is not an inherent `impl` block.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::ParseStream;
use syn::parse::Parser;
use syn::{Attribute, DeriveInput, Token, Visibility};

use crate::args::CratePath;
use crate::contract::Forward;
use crate::errors::Errors;
use crate::fallback::fallback;

/// Whether the item begins like an `impl` block.
pub(crate) fn is_impl(item: &TokenStream) -> bool {
    let read = |input: ParseStream| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Option<Token![unsafe]>>()?;
        let found = input.peek(Token![impl]);
        input.parse::<TokenStream>()?;
        Ok(found)
    };
    read.parse2(item.clone()).unwrap_or(false)
}

/// The unchanged item, the error, and a fallback impl if the item is a type.
pub(crate) fn refuse<M: Forward>(
    item: TokenStream,
    krate: &CratePath,
    mut errors: Errors,
) -> TokenStream {
    let attribute = M::ATTRIBUTE;
    let Ok(found) = syn::parse2::<DeriveInput>(item.clone()) else {
        errors.on(
            keyword(&item),
            format_args!(
                "`#[{attribute}]` goes on the `impl` block that has the {}'s methods",
                M::NOUN
            ),
        );
        let errors = errors.into_compile_errors();
        return quote!(#item #errors);
    };
    let name = &found.ident;
    let (impl_generics, type_generics, _) = found.generics.split_for_impl();
    let target = tidy(&quote!(impl #impl_generics #name #type_generics));
    let mut message = format!(
        "`#[{attribute}]` goes on the `impl` block of `{name}`, not on its definition; write\n    \
         #[{attribute}]\n    {target} {{"
    );
    for method in M::required() {
        message.push_str(&format!("\n        {} {{ … }}", method.signature()));
    }
    message.push_str("\n    }");
    errors.on(keyword(&item), message);
    let errors = errors.into_compile_errors();
    let fallback = fallback::<M>(&found.generics, quote!(#name #type_generics), krate, None);
    quote!(#item #errors #fallback)
}

/// The token that names the kind of item, or the first one.
fn keyword(item: &TokenStream) -> TokenStream {
    let read = |input: ParseStream| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let token: TokenTree = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(token)
    };
    match read.parse2(item.clone()) {
        Ok(token) => token.into_token_stream(),
        Err(_) => item.clone().into_iter().next().into_token_stream(),
    }
}

/// Formats code as one would write it, as far as the name of a generic type needs it.
fn tidy(code: &TokenStream) -> String {
    let mut text = code.to_string();
    for (loose, tight) in [
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" :", ":"),
        ("' ", "'"),
        ("& ", "&"),
    ] {
        text = text.replace(loose, tight);
    }
    text
}
