//! The trait impl: forwarders to the methods of the block.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, FnArg, ItemImpl};

use crate::args::CratePath;
use crate::hook::{Answer, Given, Hook};
use crate::mark::{Mark, MarkKind};
use crate::parse::{Block, Method};
use crate::returns::{self, Place};

/// The impl of the trait, for a block that was found correct.
pub(crate) fn expand(block: &Block, krate: &CratePath) -> TokenStream {
    let ItemImpl { attrs, impl_token, generics, self_ty, .. } = &block.header;
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let lints = attrs.iter().filter(|attribute| sets_lints(attribute));
    let forwarders = block.methods().filter_map(|method| {
        let hook = Hook::named(&method.name())?;
        Some(forwarder(hook, method, krate))
    });
    // The user's `impl` token: what the compiler says about the impl as a whole is shown on the block.
    quote! {
        #[automatically_derived]
        #(#lints)*
        #impl_token #impl_generics #krate::FlagDefinitionCacheProvider for #self_ty #where_clause {
            #(#forwarders)*
        }
    }
}

fn sets_lints(attribute: &Attribute) -> bool {
    ["allow", "warn", "deny", "forbid"].iter().any(|level| attribute.path().is_ident(level))
}

/// Input: `#[cfg(unix)] async fn shutdown(&self) -> io::Result<()>`
///
/// Output:
/// ```text
/// #[cfg(unix)]
/// fn shutdown<'__provider, '__call>(&'__provider self) -> __private::Call<'__call, __private::Done>
/// where
///     '__provider: '__call,
/// {
///     __private::awaited(move || Self::shutdown(self), __private::IntoOutcome::<__private::Done>::into_outcome)
/// }
/// ```
fn forwarder(hook: Hook, method: &Method, krate: &CratePath) -> TokenStream {
    let name = &method.signature.ident;
    // Without its `cfg`, a forwarder whose method was configured out would find the trait's own and call itself for ever.
    let cfgs = method.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let deprecated = method.attributes.iter().any(|attribute| attribute.path().is_ident("deprecated"));
    let lints = deprecated.then(|| quote!(#[allow(deprecated)]));
    let call = Call::new(hook, method, krate);
    let this = &call.this;

    if hook.answer() == Answer::Nothing {
        let invoke = call.invoke(this, &call.given, Place::at(name.span()));
        let given = &call.given;
        return quote! {
            #(#cfgs)*
            #lints
            fn #name(&#this, #given: #krate::PollerLink) {
                #invoke
            }
        };
    }

    let answer = call.answer(Span::call_site());
    let body = call.body();
    let given = &call.given;
    let (lifetime, parameter) = match hook.given() {
        None | Some(Given::Link) => (None, None),
        Some(Given::Data) => {
            (Some(quote!('__given,)), Some(quote!(, #given: &'__given #krate::FlagDefinitionCacheData)))
        }
        Some(Given::Outcome) => (Some(quote!('__given,)), Some(quote!(, #given: #krate::FetchOutcome<'__given>))),
    };
    let outlives = lifetime.is_some().then(|| quote!('__given: '__call,));
    quote! {
        #(#cfgs)*
        #lints
        fn #name<'__provider, #lifetime '__call>(
            &'__provider #this #parameter
        ) -> #krate::__private::Call<'__call, #answer>
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
    krate: &'a CratePath,
    /// `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    this: Ident,
    /// The argument, with the span of the user's parameter type: a mismatch is shown there.
    given: Ident,
    given_place: Place,
}

impl<'a> Call<'a> {
    fn new(hook: Hook, method: &'a Method, krate: &'a CratePath) -> Self {
        let this = Ident::new("self", method.signature.ident.span());
        let given_place = match method.signature.inputs.get(1) {
            Some(FnArg::Typed(parameter)) => Place::of(&parameter.ty),
            _ => Place::at(method.signature.ident.span()),
        };
        let given = Ident::new("__given", given_place.start);
        Self { hook, method, krate, this, given, given_place }
    }

    /// The alias of what the method answers.
    fn answer(&self, span: Span) -> TokenStream {
        let krate = self.krate.at(span);
        let alias = match self.hook.answer() {
            Answer::Decision => "Decision",
            Answer::Definitions => "Definitions",
            Answer::Done | Answer::Nothing => "Done",
        };
        let alias = Ident::new(alias, span);
        quote_spanned!(span=> #krate::__private::#alias)
    }

    /// `Self::method(this, argument)`, shown at `place`.
    fn invoke(&self, this: impl ToTokens, given: impl ToTokens, place: Place) -> TokenStream {
        let name = &self.method.signature.ident;
        let argument = self.hook.given().map(|_| {
            let span = self.given_place.start;
            let krate = self.krate.at(span);
            let path = quote_spanned!(span=> #krate::__private::Argument::argument);
            let given = quote_spanned!(self.given_place.end=> (#given));
            quote!(, #path #given)
        });
        let start = place.start;
        let this_type = quote_spanned!(start=> Self::);
        let arguments = quote_spanned!(place.end=> (#this #argument));
        quote!(#this_type #name #arguments)
    }

    fn body(&self) -> TokenStream {
        match self.method.mark {
            Some(Mark { kind: MarkKind::Blocking, span }) => self.blocking(span),
            _ if returns::is_future(&self.method.signature) => self.awaited(),
            _ => self.resolved(),
        }
    }

    /// For what is a future by its syntax. That it must be `Send` is shown on `async`, what it gives on the type.
    fn awaited(&self) -> TokenStream {
        let output = Place::of_output(&self.method.signature);
        let place = match &self.method.signature.asyncness {
            Some(asyncness) => Place::at(asyncness.span),
            None => output,
        };
        let krate = self.krate;
        let invoke = self.invoke(&self.this, &self.given, place);
        let outcome = self.into_outcome(output);
        let closure = quote_spanned!(place.start=> move || #invoke);
        quote!(#krate::__private::awaited(#closure, #outcome))
    }

    /// For any other type: whether there is something to await is found out by type.
    fn resolved(&self) -> TokenStream {
        let output = Place::of_output(&self.method.signature);
        let krate = self.krate;
        let spanned = self.krate.at(output.start);
        let answer = self.answer(output.start);
        let invoke = self.invoke(&self.this, &self.given, output);
        let resolve = quote_spanned!(output.start=> #spanned::__private::Resolve::<#answer, _>::resolve);
        let resolved = quote_spanned!(output.end=> (#invoke));
        quote!(#krate::__private::call(move || #resolve #resolved))
    }

    /// For a body on a thread of its own. What that needs of the type is shown on the word `blocking`.
    fn blocking(&self, word: Span) -> TokenStream {
        let output = Place::of_output(&self.method.signature);
        let krate = self.krate;
        let provider = Ident::new("__provider", word);
        let detached = Ident::new("__detached", word);
        let spanned = self.krate.at(word);
        let this = Ident::new("self", self.this.span());
        let given = &self.given;
        let (argument, lent) = match self.hook.given() {
            Some(_) => {
                (quote!(#krate::__private::Detach::detach(#given)), quote!(#krate::__private::Lend::lend(#detached)))
            }
            None => (quote!(()), quote!(#detached)),
        };
        let invoke = self.invoke(&provider, lent, output);
        let outcome = self.into_outcome(output);
        let converted = quote_spanned!(output.end=> (#invoke));
        let run = quote_spanned!(word=> #spanned::__private::blocking);
        quote!(#run(#this, #argument, |#provider, #detached| #outcome #converted))
    }

    fn into_outcome(&self, place: Place) -> TokenStream {
        let krate = self.krate.at(place.start);
        let answer = self.answer(place.start);
        let function = Ident::new("into_outcome", place.end);
        quote_spanned!(place.start=> #krate::__private::IntoOutcome::<#answer>::#function)
    }
}
