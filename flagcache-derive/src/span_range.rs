//! [`SpanRange`]: where the compiler shows an error in generated code.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;

/// From the first to the last of some tokens. An expression whose first and last token have these spans is underlined
/// as a whole.
#[derive(Clone, Copy)]
pub(crate) struct SpanRange {
    pub(crate) start: Span,
    pub(crate) end: Span,
}

impl SpanRange {
    pub(crate) fn at(span: Span) -> Self {
        Self {
            start: span,
            end: span,
        }
    }

    pub(crate) fn of(tokens: impl ToTokens) -> Self {
        let tokens = tokens.into_token_stream();
        let start = first_span(tokens.clone()).unwrap_or_else(Span::call_site);
        let end = last_span(tokens).unwrap_or(start);
        Self { start, end }
    }
}

// A type from a `macro_rules!` variable is a group without delimiters, whose own span is that of the variable.
fn first_span(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().next().map(|token| match &token {
        TokenTree::Group(group) => first_span(group.stream()).unwrap_or_else(|| token.span()),
        _ => token.span(),
    })
}

fn last_span(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().last().map(|token| token.span())
}
