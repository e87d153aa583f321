//! Every rule that the macro itself checks. What hangs on types is left to the compiler.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, FnArg, GenericParam, Meta, Receiver, ReceiverKind, ReturnType, Safety, Signature,
    Token, Type,
};

use crate::errors::Errors;
use crate::hook::{Answer, Hook};
use crate::mark::MarkKind;
use crate::near::is_near;
use crate::parse::{Block, Item, Method};
use crate::returns;

/// Checks a block, all of it. Takes out what would make the compiler repeat an error.
pub(crate) fn validate(block: &mut Block, errors: &mut Errors) {
    lifetimes(block, errors);
    for method in block.methods_mut() {
        attributes(&mut method.attributes, errors);
        match Hook::named(&method.name()) {
            Some(hook) => provider_method(hook, method, errors),
            None => helper(method, errors),
        }
    }
    missing(block, errors);
    duplicates(block, errors);
}

fn lifetimes(block: &Block, errors: &mut Errors) {
    let message = "a provider lives as long as its poller, so it cannot borrow; own the data, or share it by `Arc`";
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

/// The first `'_` in a type.
fn anonymous_lifetime(ty: TokenStream) -> Option<Span> {
    let mut quote = false;
    for token in ty {
        match &token {
            TokenTree::Ident(name) if quote && name == "_" => return Some(name.span()),
            TokenTree::Group(group) => {
                if let Some(found) = anonymous_lifetime(group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
        quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
    }
    None
}

/// The macro runs before `cfg_attr` is applied, so it would not see what that hides. What is refused is taken out.
fn attributes(attributes: &mut Vec<Attribute>, errors: &mut Errors) {
    attributes.retain(|attribute| {
        let hidden = ["cfg", "flag_cache"].into_iter().find(|hidden| {
            attribute.path().is_ident("cfg_attr") && brings(&attribute.meta, hidden)
        });
        if let Some(hidden) = hidden {
            let message = format!(
                "`{hidden}` cannot be inside `cfg_attr` here; write `#[{hidden}(…)]` directly"
            );
            errors.on(attribute, message);
        }
        hidden.is_none()
    });
}

/// Whether this `cfg_attr` puts an attribute of that name on its item.
fn brings(meta: &Meta, name: &str) -> bool {
    let Meta::List(list) = meta else { return false };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    parts.iter().skip(1).any(|part| {
        part.path().is_ident(name) || part.path().is_ident("cfg_attr") && brings(part, name)
    })
}

fn provider_method(hook: Hook, method: &Method, errors: &mut Errors) {
    qualifiers(hook, &method.signature, errors);
    parameters(hook, &method.signature, errors);
    match method.mark {
        Some(mark) if mark.kind == MarkKind::Helper => {
            errors.at(
                mark.span,
                format_args!(
                    "`{hook}` is a method of the provider, not a helper; rename the helper"
                ),
            );
        }
        Some(mark) if hook.answer() == Answer::Nothing => {
            errors.at(
                mark.span,
                format_args!("`{hook}` must return at once, so it cannot be `blocking`"),
            );
        }
        Some(mark) if method.signature.asyncness.is_some() => {
            errors.at(
                mark.span,
                "`blocking` needs a plain `fn`; an `async fn` yields by itself",
            );
        }
        Some(mark) if returns::is_future(&method.signature) => {
            errors.at(
                mark.span,
                "`blocking` needs a `fn` that returns its value; this one returns a future",
            );
        }
        _ => {}
    }
    if hook.answer() == Answer::Nothing {
        at_once(hook, &method.signature, errors);
    }
}

/// The rules of a method that the trait neither awaits nor takes a value from.
fn at_once(hook: Hook, signature: &Signature, errors: &mut Errors) {
    if let Some(asyncness) = &signature.asyncness {
        errors.on(
            asyncness,
            format_args!("`{hook}` must return at once, so it is a plain `fn`"),
        );
    } else if let ReturnType::Type(_, ty) = &signature.output {
        let nothing = matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty());
        if !nothing {
            errors.on(ty, format_args!("`{hook}` returns nothing"));
        }
    }
}

fn qualifiers(hook: Hook, signature: &Signature, errors: &mut Errors) {
    if let Safety::Unsafe(token) = &signature.safety {
        errors.on(
            token,
            format_args!("`{hook}` cannot be `unsafe`; the poller calls it without conditions"),
        );
    }
    if let Some(abi) = &signature.abi {
        errors.on(abi, format_args!("`{hook}` cannot be `extern`"));
    }
    for parameter in &signature.generics.params {
        match parameter {
            // `fn get<'a>(&'a self) -> BoxFuture<'a, …>` is fine.
            GenericParam::Lifetime(_) => {}
            GenericParam::Type(_) | GenericParam::Const(_) => {
                errors.on(
                    parameter,
                    format_args!(
                        "`{hook}` cannot be generic; put the parameter on the `impl` block"
                    ),
                );
            }
        }
    }
}

fn parameters(hook: Hook, signature: &Signature, errors: &mut Errors) {
    let takes = format!("`{hook}` takes `{}`", hook.parameters());
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) => {
            if !is_shared(receiver) {
                errors.on(
                    receiver,
                    format_args!("{takes}; providers are shared, so keep what changes in a `Mutex` or an atomic"),
                );
            }
        }
        Some(FnArg::Typed(first)) => {
            errors.on(first, format_args!("{takes}; `&self` is missing"));
            return;
        }
        None => {
            errors.at(
                signature.ident.span(),
                format_args!("{takes}; `&self` is missing"),
            );
            return;
        }
    }
    let given: Vec<_> = inputs.collect();
    let expected = usize::from(hook.given().is_some());
    if given.len() < expected {
        errors.at(
            signature.paren_token.span.join(),
            format_args!("{takes}; the second argument is missing"),
        );
    } else if let Some(extra) = given.get(expected) {
        errors.on(extra, format_args!("{takes}, nothing more"));
    }
    for argument in given.iter().take(expected) {
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

/// `&self`, or that with its type written out.
fn is_shared(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) => {
                reference.mutability.is_none()
                    && matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self"))
            }
            _ => false,
        },
        _ => false,
    }
}

fn helper(method: &Method, errors: &mut Errors) {
    if let Some(mark) = method.mark
        && mark.kind == MarkKind::Blocking
    {
        let name = method.name();
        errors.at(
            mark.span,
            format_args!("`blocking` goes on a method of the provider; `{name}` is a helper"),
        );
    }
}

fn missing(block: &Block, errors: &mut Errors) {
    let names: Vec<String> = block.methods().map(Method::name).collect();
    let mut absent: Vec<Hook> = Hook::ALL
        .into_iter()
        .filter(|hook| !names.iter().any(|name| name == hook.name()))
        .collect();
    for method in block.methods() {
        let name = method.name();
        if method
            .mark
            .is_some_and(|mark| mark.kind == MarkKind::Helper)
            || Hook::named(&name).is_some()
        {
            continue;
        }
        if let Some(index) = absent.iter().position(|hook| is_near(&name, hook.name())) {
            let hook = absent.remove(index);
            let message = format!(
                "did you mean `{hook}`? if `{name}` is a helper, mark it `#[flag_cache(helper)]`"
            );
            errors.at(method.signature.ident.span(), message);
        }
    }
    absent.retain(|hook| hook.is_required());
    if !absent.is_empty() {
        let names: Vec<String> = absent.iter().map(|hook| format!("`{hook}`")).collect();
        let mut message = format!("missing {}; write in this block", list(&names));
        for hook in &absent {
            message.push_str("\n    ");
            message.push_str(&hook.signature());
        }
        message.push_str("\nplain `fn` and `Result` do as well; `shutdown` is optional");
        errors.on(&block.header.self_ty, message);
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Two definitions are fine if each has a `cfg`: at most one of them is there.
fn duplicates(block: &mut Block, errors: &mut Errors) {
    let mut seen: Vec<(String, bool)> = Vec::new();
    block.items.retain(|item| {
        let Item::Method(method) = item else {
            return true;
        };
        let name = method.name();
        if Hook::named(&name).is_none() {
            return true;
        }
        let conditional = method
            .attributes
            .iter()
            .any(|attribute| attribute.path().is_ident("cfg"));
        let clash = seen.iter().any(|(other, other_conditional)| {
            *other == name && !(conditional && *other_conditional)
        });
        if clash {
            errors.at(
                method.signature.ident.span(),
                format_args!("`{name}` is already defined in this block"),
            );
        }
        seen.push((name, conditional));
        !clash
    });
}
