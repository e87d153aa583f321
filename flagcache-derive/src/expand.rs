//! Expands a valid block to the trait impl, whose methods forward to those of the block.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Generics, ItemImpl, WherePredicate, parse_quote};

use crate::args::CratePath;
use crate::fallback;
use crate::forwarder::Forwarder;
use crate::hook::{Argument, Hook, Outcome};
use crate::parse::{Block, Method};
use crate::span_range::SpanRange;

/// The trait impl of a valid block. It has the user's spans: compiler errors about the impl as a whole are shown on the
/// block's first line.
pub(crate) fn expand(block: &Block, krate: &CratePath) -> TokenStream {
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
    let trait_for = quote_spanned!(start=> __flagcache::FlagDefinitionCacheProvider for);
    let shared = shared(&block.header, "SharedProvider");
    let generics = with_bound_on_self(generics);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let forwarders = block.methods().filter_map(|method| {
        let hook = Hook::named(&method.name())?;
        Some(forwarder(hook, method, &block.header.generics))
    });
    let configured_out = Hook::ALL
        .into_iter()
        .filter_map(|hook| configured_out(hook, block));
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
pub(crate) fn with_bound_on_self(generics: &Generics) -> Generics {
    let bound: WherePredicate = parse_quote!(for<'any> <Self as __flagcache::Itself<'any>>::Type: __flagcache::Send + __flagcache::Sync);
    let mut generics = generics.clone();
    generics.make_where_clause().predicates.push(bound);
    generics
}

/// Checks once, without that assumption, that the type can be shared, by the trait `check` of `macro_support`.
pub(crate) fn shared(header: &ItemImpl, check: &str) -> TokenStream {
    let ItemImpl {
        impl_token,
        generics,
        self_ty,
        brace_token,
        ..
    } = header;
    let SpanRange { start, end } = SpanRange::of(self_ty);
    if generics.type_params().next().is_none() && generics.const_params().next().is_none() {
        let check = Ident::new(check, end);
        let check = quote_spanned!(end=> #check<_>>::CHECKED);
        return quote_spanned!(start=> const _: () = <#self_ty as __flagcache::#check;);
    }
    // The compiler's own message names the parameter and the bound that it needs.
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let check = Ident::new(&format!("{check}Of"), start);
    let trait_for = quote_spanned!(start=> __flagcache::#check for);
    let nothing = quote_spanned!(brace_token.span.join()=> {});
    quote!(#[automatically_derived] #impl_token #impl_generics #trait_for #self_ty #where_clause #nothing)
}

/// For a required method that exists only under a `cfg`: the error in the configurations without it.
fn configured_out(hook: Hook, block: &Block) -> Option<TokenStream> {
    let definitions: Vec<_> = block
        .methods()
        .filter(|method| method.name() == hook.name())
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
    let shown = cfgs(definitions.first().filter(|_| hook.is_required())?).next()?;
    let message = format!(
        "`{hook}` is required, and configured out here; write it for this configuration as well"
    );
    let error = syn::Error::new_spanned(shown, message).into_compile_error();
    let stub = fallback::stub(hook, &error);
    Some(quote!(#[cfg(not(any(#(#any),*)))] #stub))
}

fn cfgs(method: &Method) -> impl Iterator<Item = &Attribute> {
    method
        .attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
}

pub(crate) fn sets_lints(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny", "forbid"]
        .iter()
        .any(|level| attribute.path().is_ident(level))
}

/// Input: `#[cfg(unix)] fn shutdown(&self) -> io::Result<()>`
///
/// Output:
/// ```text
/// #[cfg(unix)]
/// fn shutdown<'provider, 'call>(&'provider self) -> __flagcache::Call<'call, __flagcache::Done>
/// where
///     'provider: 'call,
/// {
///     …
/// }
/// ```
fn forwarder(hook: Hook, method: &Method, generics: &Generics) -> TokenStream {
    let name = &method.signature.ident;
    // Without its `cfg`, a forwarder whose method is configured out would call the trait's own method and recurse
    // forever.
    let cfgs = cfgs(method);
    let deprecated = method
        .attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("deprecated"));
    let lints = deprecated.then(|| quote!(#[allow(deprecated)]));
    let forwarder = Forwarder::new(hook, method, generics);
    let Forwarder { this, argument, .. } = &forwarder;

    if hook.outcome() == Outcome::Nothing {
        let invoke = forwarder.invoke(this, argument, SpanRange::at(name.span()));
        return quote! {
            #(#cfgs)*
            #lints
            fn #name(&#this, #argument: __flagcache::PollerContext) {
                #invoke
            }
        };
    }

    let output = forwarder.outcome_alias();
    let body = forwarder.body();
    let parameter = match hook.argument() {
        Some(Argument::Data) => {
            Some(quote!(, #argument: &'argument __flagcache::FlagDefinitionCacheData))
        }
        Some(Argument::Outcome) => Some(quote!(, #argument: __flagcache::FetchOutcome)),
        Some(Argument::Context) | None => None,
    };
    let lends = hook.argument() == Some(Argument::Data);
    let lifetime = lends.then(|| quote!('argument,));
    let outlives = lends.then(|| quote!('argument: 'call,));
    quote! {
        #(#cfgs)*
        #lints
        fn #name<'provider, #lifetime 'call>(
            &'provider #this #parameter
        ) -> __flagcache::Call<'call, #output>
        where
            'provider: 'call,
            #outlives
        {
            #body
        }
    }
}
