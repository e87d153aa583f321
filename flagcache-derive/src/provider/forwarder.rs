//! [`Forwarder`]: the body of one trait method, which calls the user's method. Its tokens carry the spans of the code
//! that an error refers to.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{FnArg, Generics};

use super::method::{Argument, Outcome, ProviderMethod};
use crate::contract::{Contract, Forward};
use crate::expand::attributes_of_forwarder;
use crate::method_attr::{MethodAttr, MethodAttrKind};
use crate::parse::Method;
use crate::return_type;
use crate::span_range::SpanRange;

impl Forward for ProviderMethod {
    fn forwarder(self, method: &Method, generics: &Generics) -> TokenStream {
        forwarder(self, method, generics)
    }

    fn stub(self, body: &TokenStream) -> TokenStream {
        stub(self, body)
    }
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
fn forwarder(kind: ProviderMethod, method: &Method, generics: &Generics) -> TokenStream {
    let name = &method.signature.ident;
    let attributes = attributes_of_forwarder(method);
    let forwarder = Forwarder::new(kind, method, generics);
    let Forwarder { this, argument, .. } = &forwarder;

    if kind.outcome() == Outcome::Nothing {
        let invoke = forwarder.invoke(this, argument, SpanRange::at(name.span()));
        return quote! {
            #attributes
            fn #name(&#this, #argument: __flagcache::PollerContext) {
                #invoke
            }
        };
    }

    let output = forwarder.outcome_alias();
    let body = forwarder.body();
    let parameter = match kind.argument() {
        Some(Argument::Data) => {
            Some(quote!(, #argument: &'argument __flagcache::FlagDefinitionCacheData))
        }
        Some(Argument::Outcome) => Some(quote!(, #argument: __flagcache::FetchOutcome)),
        Some(Argument::Context) | None => None,
    };
    let lends = kind.argument() == Some(Argument::Data);
    let lifetime = lends.then(|| quote!('argument,));
    let outlives = lends.then(|| quote!('argument: 'call,));
    quote! {
        #attributes
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

/// A required method of the trait with this body.
fn stub(kind: ProviderMethod, body: &TokenStream) -> TokenStream {
    let name = Ident::new(kind.name(), Span::call_site());
    let output = match kind.outcome() {
        Outcome::Decision => quote!(__flagcache::Decision),
        Outcome::Definitions => quote!(__flagcache::Definitions),
        Outcome::Done | Outcome::Nothing => quote!(__flagcache::Done),
    };
    let data = kind
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

/// The parts of one forwarder.
struct Forwarder<'a> {
    kind: ProviderMethod,
    method: &'a Method,
    /// The type of the block.
    generics: &'a Generics,
    /// `self`, declared and used with one span, because it is hygienic and the block may come from a `macro_rules!`.
    this: Ident,
    /// The argument, with the span of the user's parameter type, where a mismatch is shown.
    argument: Ident,
    argument_span: SpanRange,
    /// Where a mismatch of the returned value is shown.
    output: SpanRange,
}

impl<'a> Forwarder<'a> {
    fn new(kind: ProviderMethod, method: &'a Method, generics: &'a Generics) -> Self {
        let this = Ident::new("self", method.signature.ident.span());
        let argument_span = match method.signature.inputs.get(1) {
            Some(FnArg::Typed(parameter)) => SpanRange::of(&parameter.ty),
            _ => SpanRange::at(method.signature.ident.span()),
        };
        let argument = Ident::new("poller_argument", argument_span.start);
        let output = return_type::span(&method.signature);
        Self {
            kind,
            method,
            generics,
            this,
            argument,
            argument_span,
            output,
        }
    }

    /// The alias of the method's outcome.
    fn outcome_alias(&self) -> TokenStream {
        match self.kind.outcome() {
            Outcome::Decision => quote!(__flagcache::Decision),
            Outcome::Definitions => quote!(__flagcache::Definitions),
            Outcome::Done | Outcome::Nothing => quote!(__flagcache::Done),
        }
    }

    fn body(&self) -> TokenStream {
        match self.method.method_attr {
            Some(MethodAttr {
                kind: MethodAttrKind::Blocking,
                span,
            }) => self.blocking(span),
            _ if return_type::is_future(&self.method.signature) => self.awaited(),
            _ => self.resolved(),
        }
    }

    /// For a return value that is a future by its syntax. An error about `Send` is shown on `async`, one about the
    /// value on the type.
    fn awaited(&self) -> TokenStream {
        let future = match &self.method.signature.asyncness {
            Some(asyncness) => SpanRange::at(asyncness.span),
            None => self.output,
        };
        let invoke = self.invoke(&self.this, &self.argument, self.output);
        let awaited = quote_spanned!(self.output.end=> #invoke.await);
        let outcome = self.outcome(awaited);
        let pin = quote_spanned!(future.start=> __flagcache::Boxed::pin);
        let argument = quote_spanned!(future.end=> (async move { #outcome }));
        quote!(#pin #argument)
    }

    /// For any other return type: the type decides whether to await.
    fn resolved(&self) -> TokenStream {
        let SpanRange { start, end } = self.output;
        let invoke = self.invoke(&self.this, &self.argument, self.output);
        let name = match self.kind.outcome() {
            Outcome::Decision => Ident::new("DecisionReturn", end),
            Outcome::Definitions => Ident::new("DefinitionsReturn", end),
            Outcome::Done | Outcome::Nothing => Ident::new("DoneReturn", end),
        };
        let convert = self.convert();
        let resolve = quote_spanned!(end=> #name::resolve(#invoke, #convert));
        let resolve = quote_spanned!(start=> __flagcache::#resolve);
        quote!(__flagcache::call(move || #resolve))
    }

    /// For a body on a thread of its own. An error about the bounds that this requires is shown on the word `blocking`.
    fn blocking(&self, word: Span) -> TokenStream {
        let this = &self.this;
        let argument = &self.argument;
        let needed = match self.generics.type_params().next() {
            None => Ident::new("CloneForThread", word),
            Some(_) => Ident::new("GenericCloneForThread", word),
        };
        let clone = quote_spanned!(word=> <Self as __flagcache::#needed<_>>::clone_for_thread);
        let (argument, lent) = match self.kind.argument() {
            Some(_) => (
                quote!(__flagcache::Detach::detach(#argument)),
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

    /// `Self::method(this, argument)`, shown at `span`.
    fn invoke(&self, this: impl ToTokens, argument: impl ToTokens, span: SpanRange) -> TokenStream {
        let mut name = self.method.signature.ident.clone();
        name.set_span(span.start);
        let argument = self.kind.argument().map(|kind| {
            let SpanRange { start, end } = self.argument_span;
            let argument = quote_spanned!(end=> Given(#argument));
            let argument = quote_spanned!(start=> __flagcache::#argument);
            let name = match kind {
                Argument::Data => Ident::new("DefinitionsArgument", end),
                Argument::Outcome => Ident::new("OutcomeArgument", end),
                Argument::Context => Ident::new("ContextArgument", end),
            };
            let argument = quote_spanned!(end=> #name::argument(#argument));
            quote_spanned!(start=> , __flagcache::#argument)
        });
        let arguments = quote_spanned!(span.end=> (#this #argument));
        quote_spanned!(span.start=> Self::#name #arguments)
    }

    /// Converts `value` to the form of the trait. A mismatch is shown at the return type.
    fn outcome(&self, value: TokenStream) -> TokenStream {
        let SpanRange { start, end } = self.output;
        let name = match self.kind.outcome() {
            Outcome::Decision => Ident::new("DecisionValue", end),
            Outcome::Definitions => Ident::new("DefinitionsValue", end),
            Outcome::Done | Outcome::Nothing => Ident::new("DoneValue", end),
        };
        let convert = self.convert();
        let outcome = quote_spanned!(end=> #name::outcome(#value, #convert));
        quote_spanned!(start=> __flagcache::#outcome)
    }

    /// The function that converts the error. An unsatisfied bound is shown at the error's type, if the syntax contains
    /// it.
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

/// Whether the tokens contain the name.
fn names(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => names(group.stream(), name),
        _ => false,
    })
}
