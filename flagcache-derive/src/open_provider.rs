//! `#[derive(OpenProvider)]`: reads the options of a URL into a struct.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, GenericArgument, Ident, Lit,
    LitStr, Meta, Path, PathArguments, Token, Type, parenthesized,
};

use crate::errors::Errors;
use crate::externs;

const ATTRIBUTE: &str = "open_provider";

/// `#[open_provider(…)]` of the struct.
#[derive(Default)]
struct Args {
    schemes: Vec<LitStr>,
    krate: Option<Path>,
}

/// `#[open_provider(…)]` of a field.
#[derive(Default)]
struct FieldArgs {
    url: Option<Span>,
    default: Option<LitStr>,
    schemes: Vec<LitStr>,
}

/// The impl of the trait, or the errors and a dummy impl, which prevents further errors.
pub(crate) fn generate(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let args = args_of(&input, &mut errors);
    let krate = crate_path(&args, &input.ident, &mut errors);
    let parts = fields(&input, &mut errors).map(|fields| parts(fields, &args.schemes, &mut errors));
    let name = &input.ident;
    let (options, reads) = match parts {
        Some(parts) if errors.is_empty() => parts,
        _ => {
            let errors = errors.into_compile_errors();
            let fallback = fallback(&input, &krate);
            return quote!(#errors #fallback);
        }
    };
    let schemes = &args.schemes;
    let url = format_ident!("__url", span = Span::mixed_site());
    let config = format_ident!("__config", span = Span::mixed_site());
    let open = quote_spanned!(name.span()=> #name::open(#config));
    quote! {
        const _: () = {
            use #krate::registry::support as __flagcache;
            #[automatically_derived]
            impl __flagcache::OpenProvider for #name {
                const SCHEMES: &'static [&'static str] = &[#(#schemes),*];
                const OPTIONS: &'static [__flagcache::UrlOption] = &[#(#options),*];

                fn provider_at(#url: &__flagcache::StoreUrl) -> __flagcache::Opened {
                    let #config: Self = ::core::convert::TryFrom::try_from(#url)?;
                    __flagcache::OpenOutcome::into_opened(#open)
                }
            }
            #[automatically_derived]
            impl ::core::convert::TryFrom<&__flagcache::StoreUrl> for #name {
                type Error = __flagcache::RegistryError;

                fn try_from(#url: &__flagcache::StoreUrl) -> ::core::result::Result<Self, Self::Error> {
                    __flagcache::known_options::<Self>(#url)?;
                    ::core::result::Result::Ok(Self { #(#reads),* })
                }
            }
        };
    }
}

/// A dummy impl, so that a mistake causes only one error.
fn fallback(input: &DeriveInput, krate: &Path) -> TokenStream {
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        const _: () = {
            use #krate::registry::support as __flagcache;
            #[automatically_derived]
            impl #impl_generics __flagcache::OpenProvider for #name #type_generics #where_clause {
                const SCHEMES: &'static [&'static str] = &[];
                const OPTIONS: &'static [__flagcache::UrlOption] = &[];

                fn provider_at(_: &__flagcache::StoreUrl) -> __flagcache::Opened {
                    ::core::unreachable!()
                }
            }
        };
    }
}

fn args_of(input: &DeriveInput, errors: &mut Errors) -> Args {
    let mut args = Args::default();
    for attribute in of_derive(&input.attrs) {
        let parsed = attribute.parse_nested_meta(|meta| match name_of(&meta).as_str() {
            "schemes" => schemes(&meta, &mut args.schemes, errors),
            "crate" => {
                let path: Path = match without_group(meta.value()?.parse()?) {
                    Expr::Path(path) => path.path,
                    Expr::Lit(ExprLit {
                        lit: Lit::Str(quoted),
                        ..
                    }) => {
                        let message = format!(
                            "write the path without quotes: `crate = {}`",
                            quoted.value()
                        );
                        errors.on(&quoted, message);
                        quoted.parse_with(Path::parse_mod_style)?
                    }
                    other => return Err(syn::Error::new_spanned(other, "expected a path")),
                };
                args.krate = Some(path);
                Ok(())
            }
            other => Err(meta.error(unknown(other, "`schemes(\"…\")` and `crate = path`"))),
        });
        if let Err(error) = parsed {
            errors.push(error);
        }
    }
    if args.schemes.is_empty() && errors.is_empty() {
        let message = format!(
            "a scheme for the URLs is missing; write `#[{ATTRIBUTE}(schemes(\"{}\"))]`",
            input.ident.unraw().to_string().to_lowercase()
        );
        errors.on(&input.ident, message);
    }
    args
}

/// The path that the expansion uses.
fn crate_path(args: &Args, on: &Ident, errors: &mut Errors) -> Path {
    if let Some(path) = &args.krate {
        return path.clone();
    }
    // flagcache-core has no registry.
    if errors.is_empty()
        && let Some(name) = externs::other_name().filter(|name| name != "flagcache_core")
    {
        let message = format!(
            "this crate knows flagcache as `{name}`; write `#[{ATTRIBUTE}(crate = {name})]`"
        );
        errors.on(on, message);
        return Ident::new(&name, Span::call_site()).into();
    }
    syn::parse_quote!(::flagcache)
}

/// The named fields of a struct without parameters.
fn fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Option<Vec<&'a Field>> {
    let name = &input.ident;
    if !input.generics.params.is_empty() {
        errors.on(
            &input.generics,
            "`OpenProvider` supports only structs without type and lifetime parameters",
        );
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Some(fields.named.iter().collect()),
            Fields::Unit => return Some(Vec::new()),
            Fields::Unnamed(fields) => errors.on(
                fields,
                format!("the fields become the options of a URL and need names: `struct {name} {{ service: String }}`"),
            ),
        },
        Data::Enum(data) => errors.on(
            data.enum_token,
            "`OpenProvider` supports only structs, whose fields become the options of a URL",
        ),
        Data::Union(data) => errors.on(
            data.union_token,
            "`OpenProvider` supports only structs, whose fields become the options of a URL",
        ),
    }
    None
}

/// The list of options, and the expression that reads each field.
fn parts(
    fields: Vec<&Field>,
    all_schemes: &[LitStr],
    errors: &mut Errors,
) -> (Vec<TokenStream>, Vec<TokenStream>) {
    let url = format_ident!("__url", span = Span::mixed_site());
    let mut options = Vec::new();
    let mut reads = Vec::new();
    let mut has_url = false;
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let args = field_args(field, errors);
        if let Some(span) = args.url {
            if has_url {
                errors.at(span, "only one field can be the URL");
            }
            has_url = true;
            if args.default.is_some() || !args.schemes.is_empty() {
                errors.at(
                    span,
                    "the `url` field is not an option, so it can have neither `default` nor `schemes`",
                );
            }
            // The type is explicit, so that the compiler reports a wrong type at the type.
            let ty = &field.ty;
            let clone = quote_spanned!(ty.span()=> __flagcache::url(#url));
            reads.push(quote!(#ident: #clone));
            continue;
        }
        let name = ident.unraw().to_string();
        let optional = of_option(&field.ty);
        if let (Some(_), Some(default)) = (optional, &args.default) {
            let message = "an `Option` field is `None` if the option is missing; remove the default or the `Option`";
            errors.on(default, message);
        }
        if let Some(default) = &args.default {
            check_default(&field.ty, default, errors);
        }
        for scheme in &args.schemes {
            if !all_schemes.iter().any(|it| it.value() == scheme.value()) {
                let all: Vec<_> = all_schemes.iter().map(LitStr::value).collect();
                let message = format!(
                    "`{}` is not a scheme of this struct; its schemes: {}",
                    scheme.value(),
                    all.join(", ")
                );
                errors.on(scheme, message);
            }
        }
        if !args.schemes.is_empty() && optional.is_none() && args.default.is_none() {
            let message = "URLs of the other schemes cannot have this option; make its type an `Option`, or add a default";
            errors.on(&field.ty, message);
        }
        let description = documentation(&field.attrs);
        let ty = optional.unwrap_or(&field.ty);
        let (mut option, read) = match (&args.default, optional) {
            (Some(default), _) => (
                quote!(__flagcache::UrlOption::optional(#name, #description).with_default(#default)),
                quote!(with_default::<#ty>(#url, #name, #default)),
            ),
            (None, Some(_)) => (
                quote!(__flagcache::UrlOption::optional(#name, #description)),
                quote!(optional::<#ty>(#url, #name)),
            ),
            (None, None) => (
                quote!(__flagcache::UrlOption::required(#name, #description)),
                quote!(required::<#ty>(#url, #name)),
            ),
        };
        if !args.schemes.is_empty() {
            let schemes = &args.schemes;
            option = quote!(#option.with_schemes(&[#(#schemes),*]));
        }
        options.push(option);
        reads.push(quote!(#ident: __flagcache::#read?));
    }
    (options, reads)
}

fn field_args(field: &Field, errors: &mut Errors) -> FieldArgs {
    let mut args = FieldArgs::default();
    for attribute in of_derive(&field.attrs) {
        let parsed = attribute.parse_nested_meta(|meta| match name_of(&meta).as_str() {
            "url" => {
                args.url = Some(meta.path.span());
                Ok(())
            }
            "default" => {
                let value = meta.value().map_err(|_| meta.error(DEFAULT))?;
                let value = without_group(value.parse()?);
                let Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) = value
                else {
                    return Err(syn::Error::new_spanned(value, DEFAULT));
                };
                args.default = Some(text);
                Ok(())
            }
            "schemes" => schemes(&meta, &mut args.schemes, errors),
            other => Err(meta.error(unknown(
                other,
                "`default = \"…\"`, `schemes(\"…\")` and `url`",
            ))),
        });
        if let Err(error) = parsed {
            errors.push(error);
        }
    }
    args
}

const DEFAULT: &str = "write the default as in a URL, in quotes: `default = \"10s\"`";

fn unknown(name: &str, known: &str) -> String {
    format!("unknown argument `{name}`; the arguments are {known}")
}

fn name_of(meta: &ParseNestedMeta) -> String {
    let name = meta.path.to_token_stream().to_string();
    name.replace(' ', "")
}

/// `("redis", "rediss")`
fn schemes(
    meta: &ParseNestedMeta,
    schemes: &mut Vec<LitStr>,
    errors: &mut Errors,
) -> syn::Result<()> {
    const FORM: &str = "write the schemes as `schemes(\"redis\", \"rediss\")`";
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(FORM));
    }
    let content;
    parenthesized!(content in meta.input);
    let list = content
        .parse_terminated(|input| input.parse::<LitStr>(), Token![,])
        .map_err(|error| syn::Error::new(error.span(), FORM))?;
    if list.is_empty() {
        return Err(meta.error(FORM));
    }
    for scheme in list {
        let value = scheme.value();
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if !value.starts_with(|c: char| c.is_ascii_lowercase()) || !value.chars().all(inner) {
            let message = format!(
                "{value:?} is not a valid URL scheme; use lower-case letters, digits, `+`, `-` and `.`, a letter first"
            );
            errors.on(&scheme, message);
        }
        if schemes.iter().any(|known| known.value() == value) {
            errors.on(
                &scheme,
                format_args!("the scheme `{value}` is given more than once"),
            );
        }
        schemes.push(scheme);
    }
    Ok(())
}

fn of_derive(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(ATTRIBUTE))
}

/// The path of a type, also of one from a `macro_rules!` variable, which is a group without delimiters.
fn path_of(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(path) => Some(&path.path),
        Type::Group(group) => path_of(&group.elem),
        _ => None,
    }
}

/// The same for an expression.
fn without_group(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => without_group(*group.expr),
        value => value,
    }
}

/// `T` of `Option<T>`.
fn of_option(ty: &Type) -> Option<&Type> {
    let last = path_of(ty)?.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(inner) if last.ident == "Option" => Some(inner),
        _ => None,
    }
}

/// Checks the default, for the types that the macro recognizes by name.
fn check_default(ty: &Type, default: &LitStr, errors: &mut Errors) {
    let last = path_of(ty).and_then(|path| path.segments.last());
    let Some(name) = last.map(|it| it.ident.to_string()) else {
        return;
    };
    let text = default.value();
    let (fits, expected) = match name.as_str() {
        "bool" => (text.parse::<bool>().is_ok(), "true or false"),
        "u16" => (
            text.parse::<u16>().is_ok(),
            "a whole number from 0 to 65535",
        ),
        "u32" => (
            text.parse::<u32>().is_ok(),
            "a whole number from 0 to 4294967295",
        ),
        "u64" => (
            text.parse::<u64>().is_ok(),
            "a whole number from 0 to 18446744073709551615",
        ),
        "Duration" => {
            let number = ["ms", "s", "m", "h"]
                .iter()
                .filter_map(|unit| text.strip_suffix(unit))
                .any(|number| !number.starts_with('+') && number.parse::<u64>().is_ok());
            (number, "a whole number with a unit: 500ms, 10s, 5m, 24h")
        }
        _ => return,
    };
    if !fits {
        let message = format!("this default cannot be read as a `{name}`; give {expected}");
        errors.on(default, message);
    }
}

/// The text of the doc comments, as one line for each paragraph.
fn documentation(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        let Meta::NameValue(meta) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(ExprLit {
            lit: Lit::Str(line),
            ..
        }) = without_group(meta.value.clone())
        else {
            continue;
        };
        if !attribute.path().is_ident("doc") {
            continue;
        }
        let line = line.value();
        let line = line.trim();
        if line.is_empty() {
            text.push('\n');
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push(' ');
        }
        text.push_str(line);
    }
    text.trim().to_owned()
}
