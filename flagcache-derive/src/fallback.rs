//! What stands in for the trait impl when something is wrong, so that one mistake is one error.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Generics, WherePredicate, parse_quote};

use crate::args::CratePath;

/// An impl that is never run. Its bounds let the type be anything: the mistake is told already.
pub(crate) fn provider(generics: &Generics, self_ty: impl ToTokens, krate: &CratePath) -> TokenStream {
    let mut generics = generics.clone();
    if !generics.params.is_empty() {
        let anything: WherePredicate = parse_quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        generics.make_where_clause().predicates.push(anything);
    }
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::FlagDefinitionCacheProvider for #self_ty #where_clause {
            fn should_fetch_flag_definitions<'__provider, '__call>(
                &'__provider self
            ) -> #krate::__private::Call<'__call, #krate::__private::Decision>
            where
                '__provider: '__call,
            {
                ::core::unreachable!()
            }

            fn get_flag_definitions<'__provider, '__call>(
                &'__provider self
            ) -> #krate::__private::Call<'__call, #krate::__private::Definitions>
            where
                '__provider: '__call,
            {
                ::core::unreachable!()
            }

            fn on_flag_definitions_received<'__provider, '__given, '__call>(
                &'__provider self,
                _: &'__given #krate::FlagDefinitionCacheData
            ) -> #krate::__private::Call<'__call, #krate::__private::Done>
            where
                '__provider: '__call,
                '__given: '__call,
            {
                ::core::unreachable!()
            }
        }
    }
}
