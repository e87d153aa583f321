//! The body of one forwarder: a call of the user's method, in tokens placed so that each error is shown where its cause is.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::FnArg;

use crate::hook::{Answer, Hook};
use crate::mark::{Mark, MarkKind};
use crate::parse::Method;
use crate::place::Place;
use crate::returns;

/// The parts of one forwarder.
pub(crate) struct Call<'a> {
    hook: Hook,
    method: &'a Method,
    /// `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    pub(crate) this: Ident,
    /// The argument, with the span of the user's parameter type: a mismatch is shown there.
    pub(crate) given: Ident,
    given_place: Place,
    /// Where a mismatch of the returned value is shown.
    output: Place,
}

impl<'a> Call<'a> {
    pub(crate) fn new(hook: Hook, method: &'a Method) -> Self {
        let this = Ident::new("self", method.signature.ident.span());
        let given_place = match method.signature.inputs.get(1) {
            Some(FnArg::Typed(parameter)) => Place::of(&parameter.ty),
            _ => Place::at(method.signature.ident.span()),
        };
        let given = Ident::new("__given", given_place.start);
        let output = returns::place(&method.signature);
        Self {
            hook,
            method,
            this,
            given,
            given_place,
            output,
        }
    }

    /// The alias of what the method answers.
    pub(crate) fn answer(&self, span: Span) -> TokenStream {
        match self.hook.answer() {
            Answer::Decision => quote_spanned!(span=> __flagcache::Decision),
            Answer::Definitions => quote_spanned!(span=> __flagcache::Definitions),
            Answer::Done | Answer::Nothing => quote_spanned!(span=> __flagcache::Done),
        }
    }

    pub(crate) fn body(&self) -> TokenStream {
        match self.method.mark {
            Some(Mark {
                kind: MarkKind::Blocking,
                span,
            }) => self.blocking(span),
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
            Some(_) => (
                quote!(__flagcache::Detach::detach(#given)),
                quote!(__flagcache::Lend::lend(__detached)),
            ),
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
    pub(crate) fn invoke(
        &self,
        this: impl ToTokens,
        given: impl ToTokens,
        place: Place,
    ) -> TokenStream {
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
