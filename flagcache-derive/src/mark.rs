//! The attribute of a method: `#[flag_cache(…)]`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::{Attribute, Ident, Meta, Token};

use crate::errors::Errors;

/// What the author says about a method.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    /// Of the word.
    pub(crate) span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// The body runs on a thread of its own.
    Blocking,
    /// The method only looks like one of a provider.
    Helper,
}

/// Takes our attributes out.
pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Vec<Attribute> {
    attributes
        .extract_if(.., |attribute| attribute.path().is_ident("flag_cache"))
        .collect()
}

/// Reads the attributes of one method, which together say one thing.
pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Option<Mark> {
    let mut found: Option<Mark> = None;
    for attribute in attributes {
        for mark in words(attribute, errors) {
            match found {
                None => found = Some(mark),
                Some(first) if first.kind == mark.kind => {
                    errors.at(mark.span, "given more than once")
                }
                Some(_) => errors.at(mark.span, "a method is `blocking` or a `helper`, not both"),
            }
        }
    }
    found
}

fn words(attribute: &Attribute, errors: &mut Errors) -> Vec<Mark> {
    let Meta::List(list) = &attribute.meta else {
        errors.on(
            attribute,
            "expected `#[flag_cache(blocking)]` or `#[flag_cache(helper)]`",
        );
        return Vec::new();
    };
    let words = list.parse_args_with(|input: syn::parse::ParseStream| {
        input.parse_terminated(Ident::parse_any, Token![,])
    });
    let words = match words {
        Ok(words) if !words.is_empty() => words,
        _ => {
            errors.on(
                attribute,
                "expected `#[flag_cache(blocking)]` or `#[flag_cache(helper)]`",
            );
            return Vec::new();
        }
    };
    let mut marks = Vec::new();
    for word in words {
        let kind = match &*word.to_string() {
            "blocking" => MarkKind::Blocking,
            "helper" => MarkKind::Helper,
            other => {
                errors.at(
                    word.span(),
                    format_args!("unknown argument `{other}`; expected `blocking` or `helper`"),
                );
                continue;
            }
        };
        marks.push(Mark {
            kind,
            span: word.span(),
        });
    }
    marks
}
