//! [`MethodAttr`]: the attribute of a method, `#[flag_cache(…)]`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::{Attribute, Ident, Meta, Path, Token};

use crate::errors::Errors;

/// What the attribute of a method requests.
#[derive(Clone, Copy)]
pub(crate) struct MethodAttr {
    pub(crate) kind: MethodAttrKind,
    /// The span of the word.
    pub(crate) span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MethodAttrKind {
    /// The body runs on a thread of its own.
    Blocking,
    /// The function only looks like a method of a provider.
    Helper,
}

/// Removes our attributes.
pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Vec<Attribute> {
    attributes
        .extract_if(.., |attribute| is_ours(attribute.path()))
        .collect()
}

/// `flag_cache`, alone or at the end of a path such as `flagcache::flag_cache`.
pub(crate) fn is_ours(path: &Path) -> bool {
    path.segments
        .last()
        .is_some_and(|segment| segment.ident == "flag_cache")
}

/// Parses the attributes of one method, which may make one request in total.
pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Option<MethodAttr> {
    let mut found: Option<MethodAttr> = None;
    for attribute in attributes {
        for method_attr in words(attribute, errors) {
            match found {
                None => found = Some(method_attr),
                Some(first) if first.kind == method_attr.kind => {
                    errors.at(method_attr.span, "given more than once")
                }
                Some(_) => errors.at(
                    method_attr.span,
                    "a method is `blocking` or a `helper`, not both",
                ),
            }
        }
    }
    found
}

fn words(attribute: &Attribute, errors: &mut Errors) -> Vec<MethodAttr> {
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
            "blocking" => MethodAttrKind::Blocking,
            "helper" => MethodAttrKind::Helper,
            other => {
                errors.at(
                    word.span(),
                    format_args!("unknown argument `{other}`; expected `blocking` or `helper`"),
                );
                continue;
            }
        };
        marks.push(MethodAttr {
            kind,
            span: word.span(),
        });
    }
    marks
}
