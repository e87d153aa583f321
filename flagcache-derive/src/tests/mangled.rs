//! Broken input: whatever it is, the macro answers. The blocks are those of the ui tests, with each token in turn dropped,
//! doubled and swapped with its neighbour.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Item, Meta};

use crate::contract::{Contract, Forward};
use crate::frame;
use crate::halves;
use crate::open_provider;
use crate::provider::ProviderMethod;
use crate::store::StoreMethod;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Drop,
    Double,
    Swap,
}

/// `tokens` with the one at `index`, counted through all groups, damaged. `index` is used up on the way.
fn damaged(tokens: TokenStream, index: &mut Option<usize>, damage: Damage) -> TokenStream {
    let mut output: Vec<TokenTree> = Vec::new();
    let mut swapped = None;
    for token in tokens {
        let here = *index == Some(0);
        *index = index.and_then(|index| index.checked_sub(1));
        let token = match token {
            TokenTree::Group(group) if !here => {
                let inner = damaged(group.stream(), index, damage);
                Group::new(group.delimiter(), inner).into()
            }
            token => token,
        };
        match damage {
            Damage::Drop if here => {}
            Damage::Double if here => output.extend([token.clone(), token]),
            Damage::Swap if here => swapped = Some(token),
            _ => output.push(token),
        }
        if !here {
            output.extend(swapped.take());
        }
    }
    output.extend(swapped);
    output.into_iter().collect()
}

fn count(tokens: TokenStream) -> usize {
    let inner = |token| match token {
        TokenTree::Group(group) => 1 + count(group.stream()),
        _ => 1,
    };
    tokens.into_iter().map(inner).sum()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The attribute's arguments and its item, for each use of it in a file.
fn uses(file: &Path) -> Vec<(TokenStream, TokenStream)> {
    // Some of the files are about syntax that no parser accepts.
    let Ok(file) = syn::parse_file(&fs::read_to_string(file).unwrap()) else {
        return Vec::new();
    };
    let mut uses = Vec::new();
    for mut item in file.items {
        let attributes = match &mut item {
            Item::Impl(item) => &mut item.attrs,
            Item::Struct(item) => &mut item.attrs,
            Item::Enum(item) => &mut item.attrs,
            Item::Trait(item) => &mut item.attrs,
            Item::Fn(item) => &mut item.attrs,
            Item::Mod(item) => &mut item.attrs,
            _ => continue,
        };
        let Some(index) = attributes.iter().position(|attribute| {
            attribute.path().is_ident(ProviderMethod::ATTRIBUTE)
                || attribute.path().is_ident(StoreMethod::ATTRIBUTE)
        }) else {
            continue;
        };
        let args = match attributes.remove(index).meta {
            Meta::List(list) => list.tokens,
            _ => TokenStream::new(),
        };
        uses.push((args, item.into_token_stream()));
    }
    uses
}

/// Whatever comes out must be an answer: a trait impl or an error.
fn answers(args: TokenStream, item: TokenStream) {
    answers_of::<ProviderMethod>(args.clone(), item.clone());
    answers_of::<StoreMethod>(args, item);
}

fn answers_of<M: Forward>(args: TokenStream, item: TokenStream) {
    halves::forget();
    let output = frame::generate::<M>(args, item).to_string();
    assert!(
        output.contains(M::TRAIT) || output.contains("compile_error"),
        "{output}"
    );
}

#[test]
fn no_input_makes_it_panic() {
    let mut files = Vec::new();
    rust_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ui"),
        &mut files,
    );
    let uses: Vec<_> = files.iter().flat_map(|file| uses(file)).collect();
    assert!(
        uses.len() > 50,
        "the ui tests have moved: {} uses found",
        uses.len()
    );
    for (args, item) in uses {
        for damage in [Damage::Drop, Damage::Double, Damage::Swap] {
            for index in 0..count(item.clone()) {
                answers(
                    args.clone(),
                    damaged(item.clone(), &mut Some(index), damage),
                );
            }
            for index in 0..count(args.clone()) {
                answers(
                    damaged(args.clone(), &mut Some(index), damage),
                    item.clone(),
                );
            }
        }
    }
}

#[test]
fn nothing_and_next_to_nothing() {
    for item in [
        quote!(),
        quote!(impl),
        quote!(impl {}),
        quote!({}),
        quote!(;),
        quote!(#[a]),
        quote!(impl<> for {}),
        quote!(#),
    ] {
        answers(quote!(), item.clone());
        answers(quote!(crate =), item.clone());
        answers(quote!(=), item);
    }
}

#[test]
fn the_damage_is_what_it_says() {
    let tokens = quote!(a (b c) d);
    let mangle = |index, damage| damaged(tokens.clone(), &mut Some(index), damage).to_string();
    assert_eq!(mangle(0, Damage::Drop), quote!((b c) d).to_string());
    assert_eq!(mangle(2, Damage::Double), quote!(a (b b c) d).to_string());
    assert_eq!(mangle(2, Damage::Swap), quote!(a (c b) d).to_string());
    assert_eq!(mangle(1, Damage::Swap), quote!(a d (b c)).to_string());
    assert_eq!(count(tokens), 5);
}

#[test]
fn no_configuration_makes_the_derive_panic() {
    let item = quote! {
        #[open_provider(schemes("etcd", "etcds"), crate = flags)]
        struct EtcdUrl {
            #[open_provider(url)]
            url: StoreUrl,
            /// Documentation.
            #[open_provider(default = "10s", schemes("etcds"))]
            ttl: Duration,
            r#type: Option<u16>,
        }
    };
    for damage in [Damage::Drop, Damage::Double, Damage::Swap] {
        for index in 0..count(item.clone()) {
            let output = open_provider::generate(damaged(item.clone(), &mut Some(index), damage));
            let output = output.to_string();
            assert!(
                output.contains("OpenProvider") || output.contains("compile_error"),
                "{output}"
            );
        }
    }
}
