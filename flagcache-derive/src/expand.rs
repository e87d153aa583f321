//! The trait impl: forwarders to the methods of the block.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, FnArg, ItemImpl, Type, WherePredicate};

use crate::args::CratePath;
use crate::hook::{Answer, Given, Hook};
use crate::mark::{Mark, MarkKind};
use crate::parse::{Block, Method};
use crate::place::Place;
use crate::returns;

/// The impl of the trait, for a block that was found correct. It is written with the user's spans: what the compiler says
/// about the impl as a whole is shown on the block's first line.
pub(crate) fn expand(block: &Block, krate: &CratePath) -> TokenStream {
    let ItemImpl { attrs, impl_token, generics, self_ty, brace_token, .. } = &block.header;
    let mut generics = generics.clone();
    if generics.params.is_empty() {
        generics.make_where_clause().predicates.push(shareable(self_ty));
    }
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let lints = attrs.iter().filter(|attribute| sets_lints(attribute));
    let start = Place::of(self_ty).start;
    let trait_for = quote_spanned!(start=> __flagcache::FlagDefinitionCacheProvider for);
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
        },
    )
}

/// The trait asks for it anyway. Said here, it is taken for granted in the methods: a type that cannot be shared is one
/// error, not one more for each `async fn`. (With type parameters it would be a condition, and hide the error.)
fn shareable(self_ty: &Type) -> WherePredicate {
    // Resolved as the macro's: the bound is trivial on purpose, and the lint for such bounds leaves macros alone.
    let place = Place::of(self_ty);
    let start = Span::call_site().located_at(place.start);
    let end = Span::call_site().located_at(place.end);
    let sync = quote_spanned!(end=> __flagcache::Sync);
    let predicate = quote_spanned!(start=> Self: __flagcache::Send + #sync);
    syn::parse_quote!(#predicate)
}

/// Names `__private` once, so that a crate path that leads nowhere is one error.
pub(crate) fn in_scope(krate: &CratePath, provider: TokenStream) -> TokenStream {
    quote! {
        const _: () = {
            use #krate::__private as __flagcache;
            #provider
        };
    }
}

fn sets_lints(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny", "forbid"].iter().any(|level| attribute.path().is_ident(level))
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
    let cfgs = method.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let deprecated = method.attributes.iter().any(|attribute| attribute.path().is_ident("deprecated"));
    let lints = deprecated.then(|| quote!(#[allow(deprecated)]));
    let call = Call::new(hook, method);
    let Call { this, given, .. } = &call;

    if hook.answer() == Answer::Nothing {
        let invoke = call.invoke(this, given, Place::at(name.span()));
        return quote! {
            #(#cfgs)*
            #lints
            fn #name(&#this, #given: __flagcache::PollerLink) {
                #invoke
            }
        };
    }

    let answer = call.answer(Span::call_site());
    let body = call.body();
    let data = (hook.given() == Some(Given::Data)).then(|| quote!(&'__given __flagcache::FlagDefinitionCacheData));
    let outcome = (hook.given() == Some(Given::Outcome)).then(|| quote!(__flagcache::FetchOutcome<'__given>));
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

/// The parts of one forwarder.
struct Call<'a> {
    hook: Hook,
    method: &'a Method,
    /// `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    this: Ident,
    /// The argument, with the span of the user's parameter type: a mismatch is shown there.
    given: Ident,
    given_place: Place,
    /// Where a mismatch of the returned value is shown.
    output: Place,
}

impl<'a> Call<'a> {
    fn new(hook: Hook, method: &'a Method) -> Self {
        let this = Ident::new("self", method.signature.ident.span());
        let given_place = match method.signature.inputs.get(1) {
            Some(FnArg::Typed(parameter)) => Place::of(&parameter.ty),
            _ => Place::at(method.signature.ident.span()),
        };
        let given = Ident::new("__given", given_place.start);
        let output = returns::place(&method.signature);
        Self { hook, method, this, given, given_place, output }
    }

    /// The alias of what the method answers.
    fn answer(&self, span: Span) -> TokenStream {
        match self.hook.answer() {
            Answer::Decision => quote_spanned!(span=> __flagcache::Decision),
            Answer::Definitions => quote_spanned!(span=> __flagcache::Definitions),
            Answer::Done | Answer::Nothing => quote_spanned!(span=> __flagcache::Done),
        }
    }

    fn body(&self) -> TokenStream {
        match self.method.mark {
            Some(Mark { kind: MarkKind::Blocking, span }) => self.blocking(span),
            _ if returns::is_future(&self.method.signature) => self.awaited(),
            _ => self.resolved(),
        }
    }

    /// For what is a future by its syntax. That it must be `Send` is shown on `async`, and what it gives on the type.
    fn awaited(&self) -> TokenStream {
        let future = match &self.method.signature.asyncness {
            Some(asyncness) => Place::at(asyncness.span),
            None => self.output,
        };
        let invoke = self.invoke(&self.this, &self.given, self.output);
        let awaited = quote_spanned!(self.output.end=> #invoke.await);
        let outcome = self.outcome(awaited);
        let pin = quote_spanned!(future.start=> __flagcache::Boxed::pin);
        let argument = quote_spanned!(future.end=> (async move { #outcome }));
        quote!(#pin #argument)
    }

    /// For any other type: whether there is something to await is found out by type.
    fn resolved(&self) -> TokenStream {
        let Place { start, end } = self.output;
        let answer = self.answer(end);
        let invoke = self.invoke(&self.this, &self.given, self.output);
        let resolve = quote_spanned!(end=> Resolve::<#answer, _>::resolve(#invoke));
        let resolve = quote_spanned!(start=> __flagcache::#resolve);
        quote!(__flagcache::call(move || #resolve))
    }

    /// For a body on a thread of its own. What that needs of the type is shown on the word `blocking`.
    fn blocking(&self, word: Span) -> TokenStream {
        let this = &self.this;
        let given = &self.given;
        let clone = quote_spanned!(word=> <Self as __flagcache::ClonedProvider>::cloned_provider);
        let (argument, lent) = match self.hook.given() {
            Some(_) => (quote!(__flagcache::Detach::detach(#given)), quote!(__flagcache::Lend::lend(__detached))),
            None => (quote!(()), quote!(__detached)),
        };
        let invoke = self.invoke(quote!(__provider), lent, self.output);
        let outcome = self.outcome(invoke);
        quote! {
            __flagcache::call(move || {
                __flagcache::blocking(#this, #clone, #argument, |__provider, __detached| #outcome)
            })
        }
    }

    /// `Self::method(this, argument)`, shown at `place`.
    fn invoke(&self, this: impl ToTokens, given: impl ToTokens, place: Place) -> TokenStream {
        let mut name = self.method.signature.ident.clone();
        name.set_span(place.start);
        let argument = self.hook.given().map(|_| {
            let Place { start, end } = self.given_place;
            let given = quote_spanned!(end=> Given(#given));
            let given = quote_spanned!(start=> __flagcache::#given);
            let argument = quote_spanned!(end=> Argument::argument(#given));
            quote_spanned!(start=> , __flagcache::#argument)
        });
        let arguments = quote_spanned!(place.end=> (#this #argument));
        quote_spanned!(place.start=> Self::#name #arguments)
    }

    /// `value` as the trait says it, shown at the returned type.
    fn outcome(&self, value: TokenStream) -> TokenStream {
        let Place { start, end } = self.output;
        let answer = self.answer(end);
        let outcome = quote_spanned!(end=> IntoOutcome::<#answer>::into_outcome(#value));
        quote_spanned!(start=> __flagcache::#outcome)
    }
}
