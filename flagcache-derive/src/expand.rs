//! Expands a valid block to the trait impl, whose methods forward to those of the block.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Generics, ItemImpl, WherePredicate, parse_quote};

use crate::args::CratePath;
use crate::contract::{Contract, Forward};
use crate::parse::{Block, Method};
use crate::span_range::SpanRange;

/// The trait impl of a valid block. It has the user's spans: compiler errors about the impl as a whole are shown on the
/// block's first line.
pub(crate) fn expand<M: Forward>(block: &Block, krate: &CratePath) -> TokenStream {
    let ItemImpl {
        attrs,
        impl_token,
        generics,
        self_ty,
        brace_token,
        ..
    } = &block.header;
    let lints = attrs.iter().filter(|attribute| sets_lints(attribute));
    let start = SpanRange::of(self_ty).start;
    let name = Ident::new(M::TRAIT, start);
    let trait_for = quote_spanned!(start=> __flagcache::#name for);
    let shared = shared::<M>(&block.header);
    let generics = with_bound_on_self(generics);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let forwarders = block.methods().filter_map(|method| {
        let kind = M::named(&method.name())?;
        Some(kind.forwarder(method, &block.header.generics))
    });
    let configured_out = M::required().filter_map(|kind| configured_out(kind, block));
    let forwarders =
        quote_spanned!(brace_token.span.join()=> { #(#forwarders)* #(#configured_out)* });
    krate.in_scope(quote! {
            #[automatically_derived]
            #(#lints)*
            #impl_token #impl_generics #trait_for #self_ty #where_clause #forwarders
            #shared
    })
}

/// Adds `Self: Send + Sync`, which the trait requires anyway. As a where-clause the methods can assume it, so a type
/// that cannot be shared is one error, instead of one more for each `async fn`. `for` makes the compiler skip its own
/// check of the clause.
fn with_bound_on_self(generics: &Generics) -> Generics {
    let bound: WherePredicate = parse_quote!(for<'any> <Self as __flagcache::Itself<'any>>::Type: __flagcache::Send + __flagcache::Sync);
    let mut generics = generics.clone();
    generics.make_where_clause().predicates.push(bound);
    generics
}

/// Checks once, without that assumption, that the type can be shared.
fn shared<M: Contract>(header: &ItemImpl) -> TokenStream {
    let ItemImpl {
        impl_token,
        generics,
        self_ty,
        brace_token,
        ..
    } = header;
    let SpanRange { start, end } = SpanRange::of(self_ty);
    if generics.type_params().next().is_none() && generics.const_params().next().is_none() {
        let check = Ident::new(M::SHARED, end);
        let check = quote_spanned!(end=> #check<_>>::CHECKED);
        return quote_spanned!(start=> const _: () = <#self_ty as __flagcache::#check;);
    }
    // The compiler's own message names the parameter and the bound that it needs.
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let check = Ident::new(&format!("{}Of", M::SHARED), start);
    let trait_for = quote_spanned!(start=> __flagcache::#check for);
    let nothing = quote_spanned!(brace_token.span.join()=> {});
    quote!(#[automatically_derived] #impl_token #impl_generics #trait_for #self_ty #where_clause #nothing)
}

/// For a required method that exists only under a `cfg`: the error in the configurations without it.
fn configured_out<M: Forward>(kind: M, block: &Block) -> Option<TokenStream> {
    let definitions: Vec<_> = block
        .methods()
        .filter(|method| method.name() == kind.name())
        .collect();
    let mut any = Vec::new();
    for method in &definitions {
        let conditions: Vec<_> = cfgs(method)
            .filter_map(|cfg| cfg.meta.require_list().ok())
            .map(|cfg| &cfg.tokens)
            .collect();
        if conditions.is_empty() {
            return None;
        }
        any.push(quote!(all(#(#conditions),*)));
    }
    let shown = cfgs(definitions.first()?).next()?;
    let message = format!(
        "`{kind}` is required, and configured out here; write it for this configuration as well"
    );
    let error = syn::Error::new_spanned(shown, message).into_compile_error();
    let stub = kind.stub(&error);
    Some(quote!(#[cfg(not(any(#(#any),*)))] #stub))
}

fn cfgs(method: &Method) -> impl Iterator<Item = &Attribute> {
    method
        .attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
}

fn sets_lints(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny", "forbid"]
        .iter()
        .any(|level| attribute.path().is_ident(level))
}

/// What a forwarder of `method` carries from it: its `cfg`, without which a forwarder whose method is configured out would
/// call the trait's own method and recurse forever; and the permission to call a deprecated method.
pub(crate) fn attributes_of_forwarder(method: &Method) -> TokenStream {
    let cfgs = cfgs(method);
    let is_deprecated = method
        .attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("deprecated"));
    let lints = is_deprecated.then(|| quote!(#[allow(deprecated)]));
    quote!(#(#cfgs)* #lints)
}
