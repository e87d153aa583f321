//! The trait impl: forwarders to the methods of the block.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Generics, ItemImpl, Type, WherePredicate};

use crate::args::CratePath;
use crate::call::Call;
use crate::hook::{Answer, Given, Hook};
use crate::parse::{Block, Method};
use crate::place::Place;

/// The impl of the trait, for a block that was found correct. It is written with the user's spans: what the compiler says
/// about the impl as a whole is shown on the block's first line.
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
    let start = Place::of(self_ty).start;
    let trait_for = quote_spanned!(start=> __flagcache::FlagDefinitionCacheProvider for);
    let shareable = shareable(&block.header);
    let generics = with_bound_on_self(generics, self_ty);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let forwarders = block.methods().filter_map(|method| {
        let hook = Hook::named(&method.name())?;
        Some(forwarder(hook, method))
    });
    let forwarders = quote_spanned!(brace_token.span.join()=> { #(#forwarders)* });
    in_scope(
        krate,
        quote! {
            #[automatically_derived]
            #(#lints)*
            #impl_token #impl_generics #trait_for #self_ty #where_clause #forwarders
            #shareable
        },
    )
}

/// `Self: Send + Sync`, which the trait asks for anyway. Said in a where-clause, it is taken for granted in the methods: a type
/// that cannot be shared is one error, not one more for each `async fn`.
fn with_bound_on_self(generics: &Generics, self_ty: &Type) -> Generics {
    // Resolved as the macro's: without type parameters the bound is trivial, and the lint for that leaves macros alone.
    let place = Place::of(self_ty);
    let start = Span::call_site().located_at(place.start);
    let end = Span::call_site().located_at(place.end);
    let sync = quote_spanned!(end=> __flagcache::Sync);
    let bound: WherePredicate = syn::parse_quote_spanned!(start=> Self: __flagcache::Send + #sync);
    let mut generics = generics.clone();
    generics.make_where_clause().predicates.push(bound);
    generics
}

/// With type parameters that bound would be a condition, which hides the error until the provider is used. So it is checked
/// once more, by an impl without it.
fn shareable(header: &ItemImpl) -> Option<TokenStream> {
    let ItemImpl {
        impl_token,
        generics,
        self_ty,
        brace_token,
        ..
    } = header;
    if generics.params.is_empty() {
        return None;
    }
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let trait_for = quote_spanned!(Place::of(self_ty).start=> __flagcache::Shareable for);
    let nothing = quote_spanned!(brace_token.span.join()=> {});
    Some(
        quote!(#[automatically_derived] #impl_token #impl_generics #trait_for #self_ty #where_clause #nothing),
    )
}

/// Names `macro_support` once, so that a crate path that leads nowhere is one error.
pub(crate) fn in_scope(krate: &CratePath, provider: TokenStream) -> TokenStream {
    quote! {
        const _: () = {
            use #krate::macro_support as __flagcache;
            #provider
        };
    }
}

fn sets_lints(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny", "forbid"]
        .iter()
        .any(|level| attribute.path().is_ident(level))
}

/// Input: `#[cfg(unix)] fn shutdown(&self) -> io::Result<()>`
///
/// Output:
/// ```text
/// #[cfg(unix)]
/// fn shutdown<'__provider, '__call>(&'__provider self) -> __flagcache::Call<'__call, __flagcache::Done>
/// where
///     '__provider: '__call,
/// {
///     …
/// }
/// ```
fn forwarder(hook: Hook, method: &Method) -> TokenStream {
    let name = &method.signature.ident;
    // Without its `cfg`, a forwarder whose method was configured out would find the trait's own and call itself for ever.
    let cfgs = method
        .attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    let deprecated = method
        .attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("deprecated"));
    let lints = deprecated.then(|| quote!(#[allow(deprecated)]));
    let call = Call::new(hook, method);
    let Call { this, given, .. } = &call;

    if hook.answer() == Answer::Nothing {
        let invoke = call.invoke(this, given, Place::at(name.span()));
        return quote! {
            #(#cfgs)*
            #lints
            fn #name(&#this, #given: __flagcache::PollerContext) {
                #invoke
            }
        };
    }

    let answer = call.answer(Span::call_site());
    let body = call.body();
    let data = (hook.given() == Some(Given::Data))
        .then(|| quote!(&'__given __flagcache::FlagDefinitionCacheData));
    let outcome =
        (hook.given() == Some(Given::Outcome)).then(|| quote!(__flagcache::FetchOutcome<'__given>));
    let ty = data.or(outcome);
    let lifetime = ty.is_some().then(|| quote!('__given,));
    let outlives = ty.is_some().then(|| quote!('__given: '__call,));
    let parameter = ty.map(|ty| quote!(, #given: #ty));
    quote! {
        #(#cfgs)*
        #lints
        fn #name<'__provider, #lifetime '__call>(
            &'__provider #this #parameter
        ) -> __flagcache::Call<'__call, #answer>
        where
            '__provider: '__call,
            #outlives
        {
            #body
        }
    }
}
