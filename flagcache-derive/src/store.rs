//! `#[flag_cache_store]`: the methods of a store with versions, what is checked of them, and the trait impl.

use std::fmt;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{DeriveInput, FnArg, GenericParam, Generics, ItemImpl, Safety, Signature, Type};

use crate::args::{self, CratePath};
use crate::errors::Errors;
use crate::expand::{sets_lints, shared, with_bound_on_self};
use crate::fallback::without_anonymous_lifetimes;
use crate::generate::ungroup;
use crate::method_attr::MethodAttrKind;
use crate::parse::{Block, Method};
use crate::similar::is_similar;
use crate::span_range::SpanRange;
use crate::validate::{anonymous_lifetime, attributes, duplicates, is_shared, list};
use crate::{misuse, return_type};

const STORE_TRAIT: &str = "VersionedStore";

/// A method of `VersionedStore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreMethod {
    Read,
    Write,
    ReadIfChanged,
    Watch,
}

/// What a method is given besides `&self`.
#[derive(Clone, Copy)]
enum Parameter {
    Key,
    Value,
    Expected,
    Known,
    Changed,
}

impl StoreMethod {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::ReadIfChanged, Self::Watch];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadIfChanged => "read_if_changed",
            Self::Watch => "watch",
        }
    }

    fn is_required(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }

    fn parameters(self) -> &'static [Parameter] {
        use Parameter::{Changed, Expected, Key, Known, Value};
        match self {
            Self::Read => &[Key],
            Self::Write => &[Key, Value, Expected],
            Self::ReadIfChanged => &[Key, Known],
            Self::Watch => &[Key, Changed],
        }
    }

    /// The parameter list, for messages.
    fn parameter_list(self) -> String {
        let parameters = self.parameters().iter().map(|given| given.written());
        let all: Vec<_> = std::iter::once("&self").chain(parameters).collect();
        format!("({})", all.join(", "))
    }

    /// The usual signature, for messages.
    fn signature(self) -> String {
        let (asyncness, output) = match self {
            Self::Read => ("async ", " -> Result<Option<(Bytes, Version)>, E>"),
            Self::Write => ("async ", " -> Result<Option<Version>, E>"),
            Self::ReadIfChanged => ("async ", " -> Result<ReadIfChanged, E>"),
            Self::Watch => ("", ""),
        };
        format!("{asyncness}fn {self}{}{output}", self.parameter_list())
    }

    /// The alias of the outcome in `macro_support`.
    fn outcome(self, span: Span) -> TokenStream {
        match self {
            Self::Read => quote_spanned!(span=> __flagcache::StoredValue),
            Self::Write => quote_spanned!(span=> __flagcache::Written),
            Self::ReadIfChanged => quote_spanned!(span=> __flagcache::StoredChange),
            Self::Watch => quote_spanned!(span=> bool),
        }
    }
}

impl fmt::Display for StoreMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Parameter {
    fn written(self) -> &'static str {
        match self {
            Self::Key => "key: &str",
            Self::Value => "value: Bytes",
            Self::Expected => "expected: Expected",
            Self::Known => "known: &Version",
            Self::Changed => "changed: ChangeNotifier",
        }
    }

    fn name(self) -> Ident {
        let name = match self {
            Self::Key => "__key",
            Self::Value => "__value",
            Self::Expected => "__expected",
            Self::Known => "__known",
            Self::Changed => "__changed",
        };
        Ident::new(name, Span::mixed_site())
    }

    /// Its type in the trait.
    fn ty(self) -> TokenStream {
        match self {
            Self::Key => quote!(&'__given str),
            Self::Value => quote!(__flagcache::GivenBytes),
            Self::Expected => quote!(__flagcache::Expected),
            Self::Known => quote!(&'__known __flagcache::Version),
            Self::Changed => quote!(__flagcache::ChangeNotifier),
        }
    }

    /// Makes an owned value of it: a body may run on another thread.
    fn owned(self) -> Option<TokenStream> {
        let name = self.name();
        match self {
            Self::Key => Some(quote!(let #name = __flagcache::String::from(#name);)),
            Self::Known => Some(
                quote!(let #name = <__flagcache::Version as __flagcache::Clone>::clone(#name);),
            ),
            Self::Value | Self::Expected | Self::Changed => None,
        }
    }
}

/// The user's block, first and unchanged, and after it the trait impl; or, if something is wrong, the errors and a trait impl
/// that keeps the rest of the file free of other ones.
pub(crate) fn generate(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let krate = args::parse(args, "flag_cache_store", &mut errors);
    let item = ungroup(item);
    if !misuse::is_impl(&item) {
        return refuse(item, &krate, errors);
    }
    match Block::parse(item.clone(), &mut errors) {
        Ok(block) => block_and_impl(item, block, &krate, errors),
        Err(error) => {
            errors.push(error);
            let errors = errors.into_compile_errors();
            quote!(#item #errors)
        }
    }
}

fn block_and_impl(
    item: TokenStream,
    mut block: Block,
    krate: &CratePath,
    mut errors: Errors,
) -> TokenStream {
    if let Some((path, _)) = block.header.trait_.take() {
        let message = "`#[flag_cache_store]` goes on an inherent `impl` block; remove `Trait for`, the trait impl is generated";
        errors.on(&path, message);
        let is_ours = |path: &syn::Path| {
            path.segments
                .last()
                .is_some_and(|segment| segment.ident == STORE_TRAIT)
        };
        if !is_ours(&path) {
            let errors = errors.into_compile_errors();
            return quote!(#item #errors);
        }
    }
    validate(&mut block, &mut errors);
    let store = if errors.is_empty() {
        expand(&block, krate)
    } else {
        fallback(&block.header.generics, &block.header.self_ty, krate)
    };
    let errors = errors.into_compile_errors();
    quote!(#block #errors #store)
}

/// The attribute on something that is not an `impl` block.
fn refuse(item: TokenStream, krate: &CratePath, mut errors: Errors) -> TokenStream {
    let place = misuse::keyword(&item);
    let Ok(found) = syn::parse2::<DeriveInput>(item.clone()) else {
        errors.on(
            place,
            "`#[flag_cache_store]` goes on the `impl` block that has the store's methods",
        );
        let errors = errors.into_compile_errors();
        return quote!(#item #errors);
    };
    let name = &found.ident;
    let (_, type_generics, _) = found.generics.split_for_impl();
    let mut message = format!(
        "`#[flag_cache_store]` goes on an `impl` block of `{name}`, not on its definition; write there"
    );
    for method in StoreMethod::ALL
        .into_iter()
        .filter(|method| method.is_required())
    {
        message.push_str(&format!("\n    {} {{ … }}", method.signature()));
    }
    errors.on(place, message);
    let errors = errors.into_compile_errors();
    let fallback = fallback(&found.generics, quote!(#name #type_generics), krate);
    quote!(#item #errors #fallback)
}

fn validate(block: &mut Block, errors: &mut Errors) {
    lifetimes(block, errors);
    let self_ty = block.header.self_ty.clone();
    for method in block.methods_mut() {
        attributes(&mut method.attributes, errors);
        match StoreMethod::named(&method.name()) {
            Some(kind) => store_method(kind, method, &self_ty, errors),
            None => helper(method, errors),
        }
    }
    missing(block, errors);
    duplicates(block, |name| StoreMethod::named(name).is_some(), errors);
}

fn lifetimes(block: &Block, errors: &mut Errors) {
    let message = "a store lives as long as its pollers, so it cannot borrow; own the data, or share it by `Arc`";
    let named: Vec<_> = block.header.generics.lifetimes().collect();
    for parameter in &named {
        errors.on(&parameter.lifetime, message);
    }
    if named.is_empty()
        && let Some(place) = anonymous_lifetime(block.header.self_ty.to_token_stream())
    {
        errors.at(place, message);
    }
}

fn store_method(kind: StoreMethod, method: &Method, self_ty: &Type, errors: &mut Errors) {
    let signature = &method.signature;
    if let Safety::Unsafe(token) = &signature.safety {
        errors.on(
            token,
            format_args!("`{kind}` cannot be `unsafe`; flagcache calls it without conditions"),
        );
    }
    if let Some(abi) = &signature.abi {
        errors.on(abi, format_args!("`{kind}` cannot be `extern`"));
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            errors.on(
                parameter,
                format_args!("`{kind}` cannot be generic; put the parameter on the `impl` block"),
            );
        }
    }
    parameters(kind, signature, self_ty, errors);
    if let Some(method_attr) = method.method_attr {
        let message = match method_attr.kind {
            MethodAttrKind::Helper => Some(format!(
                "`{kind}` is a method of the store, not a helper; rename the helper"
            )),
            MethodAttrKind::Blocking if kind == StoreMethod::Watch => Some(format!(
                "`{kind}` must return at once, so it cannot be `blocking`; start a thread in it"
            )),
            MethodAttrKind::Blocking if signature.asyncness.is_some() => {
                Some("`blocking` needs a plain `fn`; an `async fn` yields by itself".to_owned())
            }
            MethodAttrKind::Blocking if return_type::is_future(signature) => Some(
                "`blocking` needs a `fn` that returns its value; this one returns a future"
                    .to_owned(),
            ),
            MethodAttrKind::Blocking => None,
        };
        if let Some(message) = message {
            errors.at(method_attr.span, message);
        }
    }
    if kind == StoreMethod::Watch
        && let Some(asyncness) = &signature.asyncness
    {
        errors.on(
            asyncness,
            format_args!("`{kind}` must return at once, so it is a plain `fn`; start a task in it"),
        );
    }
}

fn parameters(kind: StoreMethod, signature: &Signature, self_ty: &Type, errors: &mut Errors) {
    let takes = format!("`{kind}` takes `{}`", kind.parameter_list());
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if is_shared(receiver, self_ty) => {}
        Some(FnArg::Receiver(receiver)) => errors.on(
            receiver,
            format_args!(
                "{takes}; stores are shared, so keep what changes in a `Mutex` or an atomic"
            ),
        ),
        Some(FnArg::Typed(first)) => {
            return errors.on(first, format_args!("{takes}; `&self` is missing"));
        }
        None => {
            let place = signature.ident.span();
            return errors.at(place, format_args!("{takes}; `&self` is missing"));
        }
    }
    let given: Vec<_> = inputs.collect();
    let expected = kind.parameters();
    if let Some(missing) = expected.get(given.len()) {
        errors.at(
            signature.paren_token.span.join(),
            format_args!("{takes}; `{}` is missing", missing.written()),
        );
    } else if let Some(extra) = given.get(expected.len()) {
        errors.on(extra, format_args!("{takes}, nothing more"));
    }
    for argument in given.iter().take(expected.len()) {
        if let FnArg::Typed(argument) = argument
            && matches!(&*argument.ty, Type::ImplTrait(_))
        {
            errors.on(
                &argument.ty,
                format_args!("{takes}; `impl Trait` would make it generic"),
            );
        }
    }
}

fn helper(method: &Method, errors: &mut Errors) {
    if let Some(method_attr) = method.method_attr
        && method_attr.kind == MethodAttrKind::Blocking
    {
        let name = method.name();
        errors.at(
            method_attr.span,
            format_args!("`blocking` goes on a method of the store; `{name}` is a helper"),
        );
    }
}

fn missing(block: &Block, errors: &mut Errors) {
    let names: Vec<String> = block.methods().map(Method::name).collect();
    let mut absent: Vec<StoreMethod> = StoreMethod::ALL
        .into_iter()
        .filter(|method| !names.iter().any(|name| name == method.name()))
        .collect();
    for method in block.methods() {
        let name = method.name();
        let is_helper = method
            .method_attr
            .is_some_and(|method_attr| method_attr.kind == MethodAttrKind::Helper);
        if is_helper || StoreMethod::named(&name).is_some() {
            continue;
        }
        // `read` is one or two letters away from many words: only a longer name was probably meant.
        let similar =
            |meant: &StoreMethod| meant.name().len() > 5 && is_similar(&name, meant.name());
        if let Some(index) = absent.iter().position(similar) {
            let meant = absent.remove(index);
            let message = format!(
                "did you mean `{meant}`? if `{name}` is a helper, mark it `#[flag_cache(helper)]`"
            );
            errors.at(method.signature.ident.span(), message);
        }
    }
    absent.retain(|method| method.is_required());
    if !absent.is_empty() {
        let names: Vec<String> = absent.iter().map(|method| format!("`{method}`")).collect();
        let mut message = format!("missing {}; write in this block", list(&names));
        for method in &absent {
            message.push_str("\n    ");
            message.push_str(&method.signature());
        }
        message.push_str("\nplain `fn` does as well; `read_if_changed` and `watch` are optional");
        errors.on(&block.header.self_ty, message);
    }
}

/// The impl of the trait, for a block that was found correct, with the user's spans.
fn expand(block: &Block, krate: &CratePath) -> TokenStream {
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
    let trait_for = quote_spanned!(start=> __flagcache::VersionedStore for);
    let shared = shared(&block.header, "SharedStore");
    let generics = with_bound_on_self(generics);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let forwarders = block.methods().filter_map(|method| {
        let kind = StoreMethod::named(&method.name())?;
        Some(forwarder(kind, method))
    });
    let forwarders = quote_spanned!(brace_token.span.join()=> { #(#forwarders)* });
    krate.in_scope(quote! {
            #[automatically_derived]
            #(#lints)*
            #impl_token #impl_generics #trait_for #self_ty #where_clause #forwarders
            #shared
    })
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
    // `self`, declared and used with one span: the block may come from a `macro_rules!`, and `self` is hygienic.
    let this = Ident::new("self", name.span());
    let parameters = kind.parameters().iter().map(|given| {
        let (name, ty) = (given.name(), given.ty());
        quote!(#name: #ty)
    });
    let owned = kind.parameters().iter().filter_map(|given| given.owned());
    if kind == StoreMethod::Watch {
        let invoke = invoke(kind, method, &this);
        let place = return_type::span(&method.signature);
        let watching = quote_spanned!(place.end=> IntoWatching::into_watching(#invoke));
        let watching = quote_spanned!(place.start=> __flagcache::#watching);
        return quote! {
            #(#cfgs)*
            #lints
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
        #(#cfgs)*
        #lints
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
        .parameters()
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

/// An impl that is never run, so that one mistake is one error.
fn fallback(generics: &Generics, self_ty: impl ToTokens, krate: &CratePath) -> TokenStream {
    let mut generics = generics.clone();
    if !generics.params.is_empty() {
        generics
            .make_where_clause()
            .predicates
            .push(syn::parse_quote!(
                Self: ::core::marker::Send + ::core::marker::Sync + 'static
            ));
    }
    let self_ty = without_anonymous_lifetimes(self_ty.into_token_stream());
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let methods = [StoreMethod::Read, StoreMethod::Write].map(|kind| {
        let name = Ident::new(kind.name(), Span::call_site());
        let types = kind.parameters().iter().map(|given| given.ty());
        let outcome = kind.outcome(Span::call_site());
        quote! {
            fn #name<'__store, '__given, '__call>(
                &'__store self, #(_: #types),*
            ) -> __flagcache::Call<'__call, #outcome>
            where
                '__store: '__call,
                '__given: '__call,
            {
                ::core::unreachable!()
            }
        }
    });
    krate.in_scope(quote! {
            #[automatically_derived]
            impl #impl_generics __flagcache::VersionedStore for #self_ty #where_clause {
                #(#methods)*
            }
    })
}
