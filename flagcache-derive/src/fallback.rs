//! The fallback trait impl for a block with errors, so that one mistake is one error.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Generics, Path, WherePredicate, parse_quote};

use crate::args::CratePath;
use crate::contract::Forward;

/// An impl that never runs. Its bounds accept any type, because the error is already reported. `trait_path` is the
/// trait as the user wrote it, if present.
pub(crate) fn fallback<M: Forward>(
    generics: &Generics,
    self_ty: impl ToTokens,
    krate: &CratePath,
    trait_path: Option<&Path>,
) -> TokenStream {
    let mut generics = generics.clone();
    if !generics.params.is_empty() {
        let anything: WherePredicate =
            parse_quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        generics.make_where_clause().predicates.push(anything);
    }
    let name = Ident::new(M::TRAIT, Span::call_site());
    let trait_path =
        trait_path.map_or_else(|| quote!(__flagcache::#name), ToTokens::to_token_stream);
    let self_ty = without_anonymous_lifetimes(self_ty.into_token_stream());
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let methods = M::required().map(|method| method.stub(&quote!(::core::unreachable!())));
    let never_run = quote! {
        #[automatically_derived]
        impl #impl_generics #trait_path for #self_ty #where_clause {
            #(#methods)*
        }
    };
    krate.in_scope(never_run)
}

/// `'_` becomes `'static`.
fn without_anonymous_lifetimes(ty: TokenStream) -> TokenStream {
    ty.into_iter()
        .map(|token| match token {
            TokenTree::Ident(name) if name == "_" => Ident::new("static", name.span()).into(),
            TokenTree::Group(group) => {
                let mut inner = Group::new(
                    group.delimiter(),
                    without_anonymous_lifetimes(group.stream()),
                );
                inner.set_span(group.span());
                inner.into()
            }
            other => other,
        })
        .collect()
}
