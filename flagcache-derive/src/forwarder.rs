//! The body of one forwarder: a call of the user's method. Its tokens carry the spans of what causes an error.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{FnArg, Generics};

use crate::hook::{Answer, Given, Hook};
use crate::method_attr::{MethodAttr, MethodAttrKind};
use crate::parse::Method;
use crate::return_type;
use crate::span_range::SpanRange;

/// The parts of one forwarder.
pub(crate) struct Forwarder<'a> {
    hook: Hook,
    method: &'a Method,
    /// Of the block.
    generics: &'a Generics,
    /// `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    pub(crate) this: Ident,
    /// The argument, with the span of the user's parameter type: a mismatch is shown there.
    pub(crate) given: Ident,
    given_place: SpanRange,
    /// Where a mismatch of the returned value is shown.
    output: SpanRange,
}

impl<'a> Forwarder<'a> {
    pub(crate) fn new(hook: Hook, method: &'a Method, generics: &'a Generics) -> Self {
        let this = Ident::new("self", method.signature.ident.span());
        let given_place = match method.signature.inputs.get(1) {
            Some(FnArg::Typed(parameter)) => SpanRange::of(&parameter.ty),
            _ => SpanRange::at(method.signature.ident.span()),
        };
        let given = Ident::new("given_by_the_poller", given_place.start);
        let output = return_type::span(&method.signature);
        Self {
            hook,
            method,
            generics,
            this,
            given,
            given_place,
            output,
        }
    }

    /// The alias of the method's outcome.
    pub(crate) fn answer(&self) -> TokenStream {
        match self.hook.answer() {
            Answer::Decision => quote!(__flagcache::Decision),
            Answer::Definitions => quote!(__flagcache::Definitions),
            Answer::Done | Answer::Nothing => quote!(__flagcache::Done),
        }
    }

    pub(crate) fn body(&self) -> TokenStream {
        match self.method.method_attr {
            Some(MethodAttr {
                kind: MethodAttrKind::Blocking,
                span,
            }) => self.blocking(span),
            _ if return_type::is_future(&self.method.signature) => self.awaited(),
            _ => self.resolved(),
        }
    }

    /// For what is a future by its syntax. An error about `Send` is shown on `async`, one about the value on the type.
    fn awaited(&self) -> TokenStream {
        let future = match &self.method.signature.asyncness {
            Some(asyncness) => SpanRange::at(asyncness.span),
            None => self.output,
        };
        let invoke = self.invoke(&self.this, &self.given, self.output);
        let awaited = quote_spanned!(self.output.end=> #invoke.await);
        let outcome = self.outcome(awaited);
        let pin = quote_spanned!(future.start=> __flagcache::Boxed::pin);
        let argument = quote_spanned!(future.end=> (async move { #outcome }));
        quote!(#pin #argument)
    }

    /// For any other type: the type decides whether there is something to await.
    fn resolved(&self) -> TokenStream {
        let SpanRange { start, end } = self.output;
        let invoke = self.invoke(&self.this, &self.given, self.output);
        let name = match self.hook.answer() {
            Answer::Decision => Ident::new("DecisionReturn", end),
            Answer::Definitions => Ident::new("DefinitionsReturn", end),
            Answer::Done | Answer::Nothing => Ident::new("DoneReturn", end),
        };
        let convert = self.convert();
        let resolve = quote_spanned!(end=> #name::resolve(#invoke, #convert));
        let resolve = quote_spanned!(start=> __flagcache::#resolve);
        quote!(__flagcache::call(move || #resolve))
    }

    /// For a body on a thread of its own. An error about what that needs of the type is shown on the word `blocking`.
    fn blocking(&self, word: Span) -> TokenStream {
        let this = &self.this;
        let given = &self.given;
        let needed = match self.generics.type_params().next() {
            None => Ident::new("CloneForThread", word),
            Some(_) => Ident::new("GenericCloneForThread", word),
        };
        let clone = quote_spanned!(word=> <Self as __flagcache::#needed<_>>::clone_for_thread);
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
        place: SpanRange,
    ) -> TokenStream {
        let mut name = self.method.signature.ident.clone();
        name.set_span(place.start);
        let argument = self.hook.given().map(|kind| {
            let SpanRange { start, end } = self.given_place;
            let given = quote_spanned!(end=> Given(#given));
            let given = quote_spanned!(start=> __flagcache::#given);
            let name = match kind {
                Given::Data => Ident::new("DefinitionsArgument", end),
                Given::Outcome => Ident::new("OutcomeArgument", end),
                Given::Link => Ident::new("ContextArgument", end),
            };
            let argument = quote_spanned!(end=> #name::argument(#given));
            quote_spanned!(start=> , __flagcache::#argument)
        });
        let arguments = quote_spanned!(place.end=> (#this #argument));
        quote_spanned!(place.start=> Self::#name #arguments)
    }

    /// `value` in the form of the trait. A mismatch is shown at the returned type.
    fn outcome(&self, value: TokenStream) -> TokenStream {
        let SpanRange { start, end } = self.output;
        let name = match self.hook.answer() {
            Answer::Decision => Ident::new("DecisionValue", end),
            Answer::Definitions => Ident::new("DefinitionsValue", end),
            Answer::Done | Answer::Nothing => Ident::new("DoneValue", end),
        };
        let convert = self.convert();
        let outcome = quote_spanned!(end=> #name::outcome(#value, #convert));
        quote_spanned!(start=> __flagcache::#outcome)
    }

    /// The function that converts the error. What it needs of the error is shown at its type, if the syntax shows that.
    fn convert(&self) -> TokenStream {
        let error = return_type::error_type(&self.method.signature);
        let SpanRange { start, end } = error.map_or(self.output, SpanRange::of);
        let shown = error.map_or_else(
            || self.method.signature.output.to_token_stream(),
            ToTokens::to_token_stream,
        );
        let is_generic = self
            .generics
            .type_params()
            .any(|parameter| names(shown.clone(), &parameter.ident));
        let needed = Ident::new(
            if is_generic {
                "GenericMethodError"
            } else {
                "MethodError"
            },
            end,
        );
        let function = quote_spanned!(end=> #needed::into_provider_error);
        quote_spanned!(start=> __flagcache::#function)
    }
}

/// Whether the name is among the tokens.
fn names(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => names(group.stream(), name),
        _ => false,
    })
}
