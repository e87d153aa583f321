//! The trait's methods of a store, which call the user's. Their tokens carry the spans of the code that an error refers to.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{FnArg, Generics};

use super::method::StoreMethod;
use crate::contract::{Contract, Forward};
use crate::expand::attributes_of_forwarder;
use crate::parse::Method;
use crate::return_type;
use crate::span_range::SpanRange;

impl Forward for StoreMethod {
    fn forwarder(self, method: &Method, _generics: &Generics) -> TokenStream {
        forwarder(self, method)
    }

    fn stub(self, body: &TokenStream) -> TokenStream {
        stub(self, body)
    }
}

/// Input: `async fn read(&self, key: &str) -> Option<(Vec<u8>, i64)>`
///
/// Output:
/// ```text
/// fn read<'__store, '__given, '__call>(&'__store self, __key: &'__given str) -> __flagcache::Call<'__call, __flagcache::StoredValue>
/// where
///     '__store: '__call,
///     '__given: '__call,
/// {
///     let __key = __flagcache::String::from(__key);
///     …
/// }
/// ```
fn forwarder(kind: StoreMethod, method: &Method) -> TokenStream {
    let name = &method.signature.ident;
    let attributes = attributes_of_forwarder(method);
    // `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    let this = Ident::new("self", name.span());
    let parameters = kind.arguments().iter().map(|given| {
        let (name, ty) = (given.name(), given.ty());
        quote!(#name: #ty)
    });
    let owned = kind.arguments().iter().filter_map(|given| given.owned());
    if kind == StoreMethod::Watch {
        let invoke = invoke(kind, method, &this);
        let place = return_type::span(&method.signature);
        let watching = quote_spanned!(place.end=> IntoWatching::into_watching(#invoke));
        let watching = quote_spanned!(place.start=> __flagcache::#watching);
        return quote! {
            #attributes
            fn #name<'__given>(&#this, #(#parameters),*) -> bool {
                #(#owned)*
                #watching
            }
        };
    }
    let outcome = kind.outcome(Span::call_site());
    let body = body(kind, method, &this);
    // As many lifetimes as the trait's method has.
    let knows = kind == StoreMethod::ReadIfChanged;
    let lifetime = knows.then(|| quote!('__known,));
    let outlives = knows.then(|| quote!('__known: '__call,));
    quote! {
        #attributes
        fn #name<'__store, '__given, #lifetime '__call>(
            &'__store #this, #(#parameters),*
        ) -> __flagcache::Call<'__call, #outcome>
        where
            '__store: '__call,
            '__given: '__call,
            #outlives
        {
            #(#owned)*
            #body
        }
    }
}

/// The boxed future of one call, in tokens placed so that each error is shown where its cause is.
fn body(kind: StoreMethod, method: &Method, this: &Ident) -> TokenStream {
    let output = return_type::span(&method.signature);
    let SpanRange { start, end } = output;
    let outcome = kind.outcome(end);
    if let Some(method_attr) = method.method_attr {
        let clone =
            quote_spanned!(method_attr.span=> <Self as __flagcache::ClonedStore>::cloned_store);
        let store = Ident::new("__store", Span::mixed_site());
        let value = invoke(kind, method, &store);
        let value = quote_spanned!(end=> IntoStoreOutcome::<#outcome>::into_outcome(#value));
        let value = quote_spanned!(start=> __flagcache::#value);
        return quote! {
            __flagcache::Boxed::pin(async move {
                __flagcache::blocking_store(#this, #clone, move |#store: &Self| #value).await
            })
        };
    }
    let value = invoke(kind, method, this);
    // Where it is shown that a future is not `Send`.
    let future = match &method.signature.asyncness {
        Some(asyncness) => SpanRange::at(asyncness.span),
        None => output,
    };
    let value = if return_type::is_future(&method.signature) {
        let awaited = quote_spanned!(end=> #value.await);
        quote_spanned!(end=> IntoStoreOutcome::<#outcome>::into_outcome(#awaited))
    } else {
        quote_spanned!(end=> ResolveStore::<#outcome, _>::resolve(#value).await)
    };
    let value = quote_spanned!(start=> __flagcache::#value);
    let pin = quote_spanned!(future.start=> __flagcache::Boxed::pin);
    let argument = quote_spanned!(future.end=> (async move { #value }));
    quote!(#pin #argument)
}

/// `Self::read(this, arguments)`, shown at the returned type; each argument at its parameter's type.
fn invoke(kind: StoreMethod, method: &Method, this: &Ident) -> TokenStream {
    let place = return_type::span(&method.signature);
    let mut name = method.signature.ident.clone();
    name.set_span(place.start);
    let written = method.signature.inputs.iter().skip(1);
    let arguments = kind
        .arguments()
        .iter()
        .zip(written)
        .map(|(given, written)| {
            let SpanRange { start, end } = match written {
                FnArg::Typed(written) => SpanRange::of(&written.ty),
                FnArg::Receiver(_) => SpanRange::at(method.signature.ident.span()),
            };
            let given = given.name();
            let given = quote_spanned!(end=> Given(&#given));
            let given = quote_spanned!(start=> __flagcache::#given);
            let argument = quote_spanned!(end=> StoreArgument::argument(#given));
            quote_spanned!(start=> __flagcache::#argument)
        });
    let arguments = quote_spanned!(place.end=> (#this, #(#arguments),*));
    quote_spanned!(place.start=> Self::#name #arguments)
}

/// The trait's method with this body.
fn stub(kind: StoreMethod, body: &TokenStream) -> TokenStream {
    let name = Ident::new(kind.name(), Span::call_site());
    let types = kind.arguments().iter().map(|given| given.ty());
    let outcome = kind.outcome(Span::call_site());
    quote! {
        fn #name<'__store, '__given, '__call>(
            &'__store self, #(_: #types),*
        ) -> __flagcache::Call<'__call, #outcome>
        where
            '__store: '__call,
            '__given: '__call,
        {
            #body
        }
    }
}
