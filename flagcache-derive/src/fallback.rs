//! What stands in for the trait impl when something is wrong, so that one mistake is one error.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Generics, Path, WherePredicate, parse_quote};

use crate::args::CratePath;
use crate::expand::in_scope;

/// An impl that is never run. Its bounds let the type be anything: the mistake is told already. `trait_path` is the trait as
/// the user wrote it, if it was written at all.
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
    let provider = quote! {
        #[automatically_derived]
        impl #impl_generics #trait_path for #self_ty #where_clause {
            fn should_fetch_flag_definitions<'__provider, '__call>(
                &'__provider self
            ) -> __flagcache::Call<'__call, __flagcache::Decision>
            where
                '__provider: '__call,
            {
                ::core::unreachable!()
            }

            fn get_flag_definitions<'__provider, '__call>(
                &'__provider self
            ) -> __flagcache::Call<'__call, __flagcache::Definitions>
            where
                '__provider: '__call,
            {
                ::core::unreachable!()
            }

            fn on_flag_definitions_received<'__provider, '__given, '__call>(
                &'__provider self,
                _: &'__given __flagcache::FlagDefinitionCacheData
            ) -> __flagcache::Call<'__call, __flagcache::Done>
            where
                '__provider: '__call,
                '__given: '__call,
            {
                ::core::unreachable!()
            }
        }
    };
    in_scope(krate, provider)
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
