//! Parses the tokens of an `impl` block.
//!
//! Bodies are not parsed but passed through, whatever syntax they contain, which also makes the macro faster.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, ItemImpl, LitStr, Signature, Token, Visibility};

use crate::errors::Errors;
use crate::method_attr::{self, MethodAttr};

/// An `impl` block.
pub(crate) struct Block {
    /// The block without its items.
    pub(crate) header: ItemImpl,
    brace: Group,
    inner_attributes: Vec<Attribute>,
    pub(crate) items: Vec<Item>,
}

/// An item of a block.
pub(crate) enum Item {
    Method(Box<Method>),
    /// A constant, a type or a macro call, passed through.
    Other(TokenStream),
}

/// A function of the block.
pub(crate) struct Method {
    /// Without `#[flag_cache(…)]`.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) method_attr: Option<MethodAttr>,
    visibility: Visibility,
    defaultness: Option<Token![default]>,
    pub(crate) signature: Signature,
    body: TokenTree,
}

impl Method {
    /// The name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }
}

impl Block {
    /// Parses an item that begins like an `impl` block.
    pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> syn::Result<Self> {
        let (header, brace) = split(item)?;
        let mut header: ItemImpl = syn::parse2(header)?;
        for attribute in method_attr::take(&mut header.attrs) {
            errors.on(attribute, "`flag_cache` goes on a method of the block");
        }
        let mut read = |input: ParseStream| {
            let inner_attributes = input.call(Attribute::parse_inner)?;
            let mut items = Vec::new();
            while !input.is_empty() {
                items.extend(item_of(input, errors)?);
            }
            Ok((inner_attributes, items))
        };
        let (inner_attributes, items) = Parser::parse2(&mut read, brace.stream())?;
        Ok(Self {
            header,
            brace,
            inner_attributes,
            items,
        })
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.items.iter().filter_map(|item| match item {
            Item::Method(method) => Some(&**method),
            Item::Other(_) => None,
        })
    }

    /// The macro calls in the block, as `name!()`.
    pub(crate) fn macro_calls(&self) -> impl Iterator<Item = String> {
        self.items.iter().filter_map(|item| match item {
            Item::Other(tokens) => {
                let read = |input: ParseStream| {
                    input.call(Attribute::parse_outer)?;
                    let path = input.call(syn::Path::parse_mod_style)?;
                    input.parse::<Token![!]>()?;
                    input.parse::<TokenStream>()?;
                    Ok(path)
                };
                let path = read.parse2(tokens.clone()).ok()?;
                Some(format!(
                    "{}!()",
                    path.to_token_stream().to_string().replace(' ', "")
                ))
            }
            Item::Method(_) => None,
        })
    }

    pub(crate) fn methods_mut(&mut self) -> impl Iterator<Item = &mut Method> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Method(method) => Some(&mut **method),
            Item::Other(_) => None,
        })
    }
}

/// The header, completed with empty braces so that it parses as a block, and the braces with the items.
fn split(item: TokenStream) -> syn::Result<(TokenStream, Group)> {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    match tokens.pop() {
        Some(TokenTree::Group(brace)) if brace.delimiter() == Delimiter::Brace => {
            let mut empty = Group::new(Delimiter::Brace, TokenStream::new());
            empty.set_span(brace.span());
            tokens.push(empty.into());
            Ok((tokens.into_iter().collect(), brace))
        }
        Some(other) => Err(syn::Error::new(other.span(), "expected an `impl` block")),
        None => Err(syn::Error::new(
            proc_macro2::Span::call_site(),
            "expected an `impl` block",
        )),
    }
}

fn item_of(input: ParseStream, errors: &mut Errors) -> syn::Result<Option<Item>> {
    let mut attributes = input.call(Attribute::parse_outer)?;
    let method_attrs = method_attr::take(&mut attributes);
    if input.is_empty() {
        // A comment or an attribute before the closing brace: the compiler reports it.
        return Ok(None);
    }
    let mut visibility: Visibility = input.parse()?;
    let defaultness = if input.peek2(Token![!]) {
        None
    } else {
        input.parse()?
    };
    // `async pub fn`, which the compiler reports.
    let mut misplaced = None;
    if input.peek(Token![async]) && input.peek2(Token![pub]) {
        misplaced = Some(input.parse()?);
        visibility = input.parse()?;
    }
    if is_function(input) {
        let method_attr = method_attr::read(&method_attrs, errors);
        let mut signature: Signature = input.parse()?;
        signature.asyncness = signature.asyncness.or(misplaced);
        let body: TokenTree = input.parse()?;
        let method = Method {
            attributes,
            method_attr,
            visibility,
            defaultness,
            signature,
            body,
        };
        return Ok(Some(Item::Method(Box::new(method))));
    }
    for method_attr in method_attrs {
        errors.on(method_attr, "`flag_cache` goes on a method");
    }
    let mut tokens = TokenStream::new();
    for attribute in attributes {
        attribute.to_tokens(&mut tokens);
    }
    visibility.to_tokens(&mut tokens);
    defaultness.to_tokens(&mut tokens);
    rest_of_item(input, &mut tokens)?;
    Ok(Some(Item::Other(tokens)))
}

fn is_function(input: ParseStream) -> bool {
    let ahead = input.fork();
    loop {
        if ahead.peek(Token![fn]) {
            return true;
        }
        let qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || ahead.peek(LitStr);
        if !qualifier || ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
}

/// A constant or a type ends at its semicolon, a macro call at its semicolon or braces.
fn rest_of_item(input: ParseStream, tokens: &mut TokenStream) -> syn::Result<()> {
    let braces_end_it = !input.peek(Token![const]) && !input.peek(Token![type]);
    loop {
        let token: TokenTree = input.parse()?;
        let ends = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => braces_end_it && group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        token.to_tokens(tokens);
        if ends {
            return Ok(());
        }
    }
}

impl ToTokens for Block {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let ItemImpl {
            attrs,
            unsafety,
            impl_token,
            generics,
            self_ty,
            ..
        } = &self.header;
        for attribute in attrs {
            attribute.to_tokens(tokens);
        }
        unsafety.to_tokens(tokens);
        impl_token.to_tokens(tokens);
        generics.to_tokens(tokens);
        self_ty.to_tokens(tokens);
        generics.where_clause.to_tokens(tokens);

        let mut content = TokenStream::new();
        for attribute in &self.inner_attributes {
            attribute.to_tokens(&mut content);
        }
        for item in &self.items {
            item.to_tokens(&mut content);
        }
        let mut brace = Group::new(Delimiter::Brace, content);
        brace.set_span(self.brace.span());
        brace.to_tokens(tokens);
    }
}

impl ToTokens for Item {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Method(method) => method.to_tokens(tokens),
            Self::Other(other) => other.to_tokens(tokens),
        }
    }
}

impl ToTokens for Method {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        for attribute in &self.attributes {
            attribute.to_tokens(tokens);
        }
        self.visibility.to_tokens(tokens);
        self.defaultness.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}
