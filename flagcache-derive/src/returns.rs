//! What the syntax of a signature tells about its value.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, ReturnType, Signature, Type, TypeParamBound};

/// Whether the returned value is a future by its syntax. `false` says nothing: an alias or a named future looks like a value.
pub(crate) fn is_future(signature: &Signature) -> bool {
    signature.asyncness.is_some()
        || match &signature.output {
            ReturnType::Default => false,
            ReturnType::Type(_, ty) => is_future_type(ty),
        }
}

fn is_future_type(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_future_type(&group.elem),
        Type::Paren(paren) => is_future_type(&paren.elem),
        Type::ImplTrait(opaque) => opaque.bounds.iter().any(is_future_bound),
        Type::Path(path) => generic_of(path, "Pin")
            .and_then(|ty| match ty {
                Type::Path(path) => generic_of(path, "Box"),
                _ => None,
            })
            .is_some_and(|ty| matches!(ty, Type::TraitObject(object) if object.bounds.iter().any(is_future_bound))),
        _ => false,
    }
}

fn is_future_bound(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Future"),
        _ => false,
    }
}

/// `T` of `name<T>`.
fn generic_of<'a>(path: &'a syn::TypePath, name: &str) -> Option<&'a Type> {
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Where an error is shown: from the first to the last of some tokens. An expression whose first and last token carry
/// these spans is underlined as a whole.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: Span,
    pub(crate) end: Span,
}

impl Place {
    /// The returned type, or the method's name if there is none.
    pub(crate) fn of_output(signature: &Signature) -> Self {
        match &signature.output {
            ReturnType::Type(_, ty) => Self::of(ty),
            ReturnType::Default => Self::at(signature.ident.span()),
        }
    }

    pub(crate) fn at(span: Span) -> Self {
        Self { start: span, end: span }
    }

    pub(crate) fn of(tokens: impl ToTokens) -> Self {
        let tokens = tokens.into_token_stream();
        let start = first_span(tokens.clone()).unwrap_or_else(Span::call_site);
        let end = last_span(tokens).unwrap_or(start);
        Self { start, end }
    }
}

// A type that came through a `macro_rules!` variable is a group without delimiters, whose own span is the variable's.
fn first_span(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().next().map(|token| match &token {
        TokenTree::Group(group) => first_span(group.stream()).unwrap_or_else(|| token.span()),
        _ => token.span(),
    })
}

fn last_span(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().last().map(|token| token.span())
}
