//! Inspects the return type of a signature.

use syn::{GenericArgument, PathArguments, ReturnType, Signature, Type, TypeParamBound};

use crate::span_range::SpanRange;

/// Whether the return type is a future by its syntax. `false` proves nothing: an alias or a named future looks like a
/// value.
pub(crate) fn is_future(signature: &Signature) -> bool {
    signature.asyncness.is_some()
        || match &signature.output {
            ReturnType::Default => false,
            ReturnType::Type(_, ty) => is_future_type(ty),
        }
}

pub(crate) fn is_future_type(ty: &Type) -> bool {
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
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Future"),
        _ => false,
    }
}

/// `Box<dyn Future<…>>` without `Pin`, which cannot be awaited.
pub(crate) fn unpinned_box(signature: &Signature) -> Option<&Type> {
    let ReturnType::Type(_, ty) = &signature.output else {
        return None;
    };
    let Type::Path(path) = &**ty else { return None };
    match generic_of(path, "Box")? {
        Type::TraitObject(object) if object.bounds.iter().any(is_future_bound) => Some(ty),
        _ => None,
    }
}

/// The error of the returned `Result`, if the syntax contains it: `E` of `Result<T, E>`, or of a future of that.
pub(crate) fn error_type(signature: &Signature) -> Option<&Type> {
    match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => error_of(ty),
    }
}

fn error_of(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Group(group) => error_of(&group.elem),
        Type::Paren(paren) => error_of(&paren.elem),
        Type::ImplTrait(opaque) => opaque.bounds.iter().find_map(output_of).and_then(error_of),
        Type::TraitObject(object) => object.bounds.iter().find_map(output_of).and_then(error_of),
        Type::Path(path) => match generic_of(path, "Pin").or_else(|| generic_of(path, "Box")) {
            Some(inner) => error_of(inner),
            None => types_of(path, "Result")?.nth(1),
        },
        _ => None,
    }
}

/// `T` of `Future<Output = T>`.
fn output_of(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else {
        return None;
    };
    let last = bound
        .path
        .segments
        .last()
        .filter(|segment| segment.ident == "Future")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    })
}

/// `T` of `name<T>`.
fn generic_of<'a>(path: &'a syn::TypePath, name: &str) -> Option<&'a Type> {
    types_of(path, name)?.next()
}

/// All `T` of `name<T, …>`.
fn types_of<'a>(path: &'a syn::TypePath, name: &str) -> Option<impl Iterator<Item = &'a Type>> {
    let last = path
        .path
        .segments
        .last()
        .filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    Some(arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }))
}

/// Where an error of the returned value is shown: at its type, or at the method's name without one.
pub(crate) fn span(signature: &Signature) -> SpanRange {
    match &signature.output {
        ReturnType::Type(_, ty) => SpanRange::of(ty),
        ReturnType::Default => SpanRange::at(signature.ident.span()),
    }
}
