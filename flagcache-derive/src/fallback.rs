//! The fallback trait impl for a block with errors, so that one mistake is one error.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Generics, Path, WherePredicate, parse_quote};

use crate::args::CratePath;
use crate::hook::{Hook, Outcome};

/// An impl that never runs. Its bounds accept any type, because the error is already reported. `trait_path` is the
/// trait as the user wrote it, if present.
pub(crate) fn provider(
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
    let trait_path = trait_path.map_or_else(
        || quote!(__flagcache::FlagDefinitionCacheProvider),
        ToTokens::to_token_stream,
    );
    let self_ty = without_anonymous_lifetimes(self_ty.into_token_stream());
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let methods = Hook::ALL
        .into_iter()
        .filter(|hook| hook.is_required())
        .map(|hook| stub(hook, &quote!(::core::unreachable!())));
    let provider = quote! {
        #[automatically_derived]
        impl #impl_generics #trait_path for #self_ty #where_clause {
            #(#methods)*
        }
    };
    krate.in_scope(provider)
}

/// A required method of the trait with this body.
pub(crate) fn stub(hook: Hook, body: &TokenStream) -> TokenStream {
    let name = Ident::new(hook.name(), Span::call_site());
    let output = match hook.outcome() {
        Outcome::Decision => quote!(__flagcache::Decision),
        Outcome::Definitions => quote!(__flagcache::Definitions),
        Outcome::Done | Outcome::Nothing => quote!(__flagcache::Done),
    };
    let data = hook
        .argument()
        .is_some()
        .then(|| quote!(, _: &'argument __flagcache::FlagDefinitionCacheData));
    let lifetime = data.is_some().then(|| quote!('argument,));
    let outlives = data.is_some().then(|| quote!('argument: 'call,));
    quote! {
        fn #name<'provider, #lifetime 'call>(&'provider self #data) -> __flagcache::Call<'call, #output>
        where
            'provider: 'call,
            #outlives
        {
            #body
        }
    }
}

/// `'_` becomes `'static`.
pub(crate) fn without_anonymous_lifetimes(ty: TokenStream) -> TokenStream {
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
