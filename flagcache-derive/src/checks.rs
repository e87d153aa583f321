//! The checks that the macro itself makes. The compiler checks everything that depends on types.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, FnArg, GenericParam, Meta, Receiver, ReceiverKind, ReturnType, Safety, Signature,
    Token, Type,
};

use crate::contract::Contract;
use crate::errors::Errors;
use crate::halves;
use crate::method_attr::MethodAttrKind;
use crate::parse::{Block, Item, Method};
use crate::return_type;
use crate::similar::Lookalike;

/// Checks a whole block. Removes what would make the compiler repeat an error.
///
/// Returns whether the block is the second half of one that was already reported.
pub(crate) fn check<M: Contract>(block: &mut Block, errors: &mut Errors) -> bool {
    lifetimes::<M>(block, errors);
    let self_ty = block.header.self_ty.clone();
    for method in block.methods_mut() {
        attributes(&mut method.attributes, errors);
        match M::named(&method.name()) {
            Some(kind) => contract_method(kind, method, &self_ty, errors),
            None => helper::<M>(method, errors),
        }
    }
    let second_half = missing::<M>(block, errors);
    duplicates::<M>(block, errors);
    second_half
}

fn lifetimes<M: Contract>(block: &Block, errors: &mut Errors) {
    let message = format!(
        "a {} outlives the scope that makes it, so it cannot borrow; own the data, or share it by `Arc`",
        M::NOUN
    );
    let named: Vec<_> = block.header.generics.lifetimes().collect();
    for parameter in &named {
        errors.on(&parameter.lifetime, &message);
    }
    if named.is_empty()
        && let Some(span) = anonymous_lifetime(block.header.self_ty.to_token_stream())
    {
        errors.at(span, &message);
    }
}

/// The first `'_` in a type, except in a function signature, where it borrows nothing.
fn anonymous_lifetime(ty: TokenStream) -> Option<Span> {
    let mut quote = false;
    let mut after_word = false;
    let mut in_signature = false;
    for token in ty {
        match &token {
            TokenTree::Ident(name) if quote && name == "_" && !in_signature => {
                return Some(name.span());
            }
            // `fn(…)` and `Fn(…)`
            TokenTree::Group(group)
                if after_word && group.delimiter() == Delimiter::Parenthesis =>
            {
                in_signature = true
            }
            TokenTree::Group(group) if !in_signature => {
                if let Some(found) = anonymous_lifetime(group.stream()) {
                    return Some(found);
                }
            }
            // The return type of the signature ends there.
            TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | '+' | ';') => {
                in_signature = false
            }
            _ => {}
        }
        quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        after_word = matches!(&token, TokenTree::Ident(_));
    }
    None
}

/// The macro runs before `cfg_attr` is applied, and cannot see what it hides. Refused attributes are removed.
fn attributes(attributes: &mut Vec<Attribute>, errors: &mut Errors) {
    attributes.retain(|attribute| {
        let hidden = ["cfg", "flag_cache"].into_iter().find(|hidden| {
            attribute.path().is_ident("cfg_attr") && adds_attribute(&attribute.meta, hidden)
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

/// Whether this `cfg_attr` applies an attribute of that name.
fn adds_attribute(meta: &Meta, name: &str) -> bool {
    let Meta::List(list) = meta else { return false };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    parts.iter().skip(1).any(|part| {
        part.path()
            .segments
            .last()
            .is_some_and(|last| last.ident == name)
            || part.path().is_ident("cfg_attr") && adds_attribute(part, name)
    })
}

fn contract_method<M: Contract>(kind: M, method: &Method, self_ty: &Type, errors: &mut Errors) {
    let signature = &method.signature;
    qualifiers(kind, signature, errors);
    parameters(kind, signature, self_ty, errors);
    if let Some(method_attr) = method.method_attr {
        let message = match method_attr.kind {
            MethodAttrKind::Helper => Some(format!(
                "`{kind}` is a method of the {}, not a helper; rename the helper",
                M::NOUN
            )),
            MethodAttrKind::Blocking if kind.returns_at_once() => Some(format!(
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
    match &signature.asyncness {
        _ if !kind.returns_at_once() => returned(kind, signature, errors),
        Some(asyncness) => errors.on(
            asyncness,
            format_args!("`{kind}` must return at once, so it is a plain `fn`; start a task in it"),
        ),
        None => kind.check_immediate(signature, errors),
    }
}

/// Checks of a return type by its syntax.
fn returned<M: Contract>(kind: M, signature: &Signature, errors: &mut Errors) {
    let expected = match kind.value() {
        "" => "()",
        value => value,
    };
    if let ReturnType::Type(_, ty) = &signature.output {
        if signature.asyncness.is_some() && return_type::is_future_type(ty) {
            let message = format!(
                "remove `async`, or return the value itself: `{kind}` is awaited once, and this is a future in a future"
            );
            errors.on(ty, message);
        } else if let Some(ty) = return_type::unpinned_box(signature) {
            errors.on(ty, format_args!("a boxed future is pinned: write `Pin<Box<dyn Future<Output = {expected}> + Send + '_>>`, made by `Box::pin`"));
        }
    } else if expected != "()" {
        let message = format!(
            "`{kind}` returns `{expected}` or `Result<{expected}, E>`; write `-> {expected}`"
        );
        errors.at(signature.ident.span(), message);
    }
    if let Some(error) = return_type::error_type(signature)
        && let Some(span) = borrow_in(error.to_token_stream())
    {
        errors.at(
            span,
            "the error outlives the call, so it cannot borrow; let it own its data",
        );
    }
}

/// The first lifetime in a type other than `'static`, or the first reference without a lifetime.
fn borrow_in(ty: TokenStream) -> Option<Span> {
    let mut tokens = ty.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '\'' => match tokens.peek() {
                Some(TokenTree::Ident(name)) if name == "static" => {}
                name => return Some(name.map_or(punct.span(), TokenTree::span)),
            },
            TokenTree::Punct(punct)
                if punct.as_char() == '&'
                    && !matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '\'') =>
            {
                return Some(punct.span());
            }
            // Parameters and results of a function type borrow nothing.
            TokenTree::Ident(name) if name == "fn" || name == "Fn" => return None,
            TokenTree::Group(group) => {
                if let Some(found) = borrow_in(group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
    }
    None
}

fn qualifiers<M: Contract>(kind: M, signature: &Signature, errors: &mut Errors) {
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
        match parameter {
            // `fn get<'a>(&'a self) -> BoxFuture<'a, …>` is allowed.
            GenericParam::Lifetime(_) => {}
            GenericParam::Type(_) | GenericParam::Const(_) => {
                errors.on(
                    parameter,
                    format_args!(
                        "`{kind}` cannot be generic; put the parameter on the `impl` block"
                    ),
                );
            }
        }
    }
}

fn parameters<M: Contract>(kind: M, signature: &Signature, self_ty: &Type, errors: &mut Errors) {
    let takes = format!("`{kind}` takes `{}`", kind.parameter_list());
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) => {
            if is_pinned(receiver) {
                errors.on(receiver, format_args!("{takes}; write `&self`"));
            } else if !is_shared(receiver, self_ty) {
                errors.on(
                    receiver,
                    format_args!(
                        "{takes}; write `&self`: {}s are shared, so keep what changes in a `Mutex` or an atomic",
                        M::NOUN
                    ),
                );
            }
        }
        Some(FnArg::Typed(first)) => {
            return errors.on(first, format_args!("{takes}; `&self` is missing"));
        }
        None => {
            return errors.at(
                signature.ident.span(),
                format_args!("{takes}; `&self` is missing"),
            );
        }
    }
    let given: Vec<_> = inputs.collect();
    let expected = kind.parameters();
    if let Some(missing) = expected.get(given.len()) {
        errors.at(
            signature.paren_token.span.join(),
            format_args!("{takes}; `{missing}` is missing"),
        );
    } else if let Some(extra) = given.get(expected.len()) {
        errors.on(extra, format_args!("{takes}, nothing more"));
    }
    for (index, argument) in given.iter().take(expected.len()).enumerate() {
        let FnArg::Typed(argument) = argument else {
            continue;
        };
        let remedy = match &*argument.ty {
            Type::ImplTrait(_) => Some("`impl Trait` would make it generic"),
            ty => kind.wrong_argument(index, ty),
        };
        if let Some(remedy) = remedy {
            errors.on(&argument.ty, format_args!("{takes}; {remedy}"));
        }
    }
}

/// `self: Pin<&Self>`, or `Pin` of another type.
fn is_pinned(receiver: &Receiver) -> bool {
    let ReceiverKind::Typed(_, ty) = &receiver.kind else {
        return false;
    };
    matches!(&**ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Pin"))
}

/// `&self`, also with its type written out.
fn is_shared(receiver: &Receiver, self_ty: &Type) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) => {
                reference.mutability.is_none()
                    && (matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self"))
                        || reference.elem.to_token_stream().to_string()
                            == self_ty.to_token_stream().to_string())
            }
            _ => false,
        },
        _ => false,
    }
}

fn helper<M: Contract>(method: &Method, errors: &mut Errors) {
    if let Some(method_attr) = method.method_attr
        && method_attr.kind == MethodAttrKind::Blocking
    {
        let message = format!(
            "`blocking` goes on a method of the {}; `{}` is a helper",
            M::NOUN,
            method.name()
        );
        errors.at(method_attr.span, message);
    }
}

fn missing<M: Contract>(block: &Block, errors: &mut Errors) -> bool {
    let names: Vec<String> = block.methods().map(Method::name).collect();
    let is_absent = |method: &M| !names.iter().any(|name| name == method.name());
    let mut absent: Vec<M> = M::ALL.iter().copied().filter(is_absent).collect();
    for method in block.methods() {
        let name = method.name();
        if method
            .method_attr
            .is_some_and(|method_attr| method_attr.kind == MethodAttrKind::Helper)
            || M::named(&name).is_some()
        {
            continue;
        }
        let helper = format!("if `{name}` is a helper, mark it `#[flag_cache(helper)]`");
        let message = match M::lookalike(&name, &absent) {
            None => continue,
            Some(Lookalike::Of(meant)) => {
                absent.retain(|other| *other != meant);
                format!("did you mean `{meant}`? {helper}")
            }
            Some(Lookalike::OfNone) => format!(
                "`{name}` is no method of a {}, so it is never called; {helper}",
                M::NOUN
            ),
        };
        errors.at(method.signature.ident.span(), message);
    }
    absent.retain(|method| method.is_required());
    if !absent.is_empty() {
        if halves::is_second(&block.header.self_ty, &absent) {
            return true;
        }
        let names: Vec<String> = absent.iter().map(|method| format!("`{method}`")).collect();
        let mut message = format!("missing {}; write in this block", list(&names));
        for method in &absent {
            message.push_str("\n    ");
            message.push_str(&method.signature());
        }
        message.push('\n');
        message.push_str(M::OTHER_FORMS);
        if let Some(call) = block.macro_calls().next() {
            message.push_str(&format!(
                "\nwhat `{call}` expands to is not seen here; write the methods themselves"
            ));
        }
        errors.on(&block.header.self_ty, message);
    }
    false
}

fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Removes further definitions of a method of the contract. Two are allowed if each has a `cfg`, because then at most one of
/// them is compiled.
fn duplicates<M: Contract>(block: &mut Block, errors: &mut Errors) {
    let mut seen: Vec<(String, bool)> = Vec::new();
    block.items.retain(|item| {
        let Item::Method(method) = item else {
            return true;
        };
        let name = method.name();
        if M::named(&name).is_none() {
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
