//! What the syntax of a signature tells about its value.

use syn::{GenericArgument, PathArguments, ReturnType, Signature, Type, TypeParamBound};

use crate::place::Place;

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
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Future"),
        _ => false,
    }
}

/// `T` of `name<T>`.
fn generic_of<'a>(path: &'a syn::TypePath, name: &str) -> Option<&'a Type> {
    let last = path
        .path
        .segments
        .last()
        .filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Where an error of the returned value is shown: at its type, or at the method's name if there is none.
pub(crate) fn place(signature: &Signature) -> Place {
    match &signature.output {
        ReturnType::Type(_, ty) => Place::of(ty),
        ReturnType::Default => Place::at(signature.ident.span()),
    }
}
