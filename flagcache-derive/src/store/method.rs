//! [`StoreMethod`]: the methods of a store with versions.

use std::fmt;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Signature, Type};

use crate::contract::Contract;
use crate::errors::Errors;
use crate::similar::{Lookalike, is_similar};

/// A method of `VersionedStore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreMethod {
    Read,
    Write,
    ReadIfChanged,
    Watch,
}

/// What a method is given besides `&self`.
#[derive(Clone, Copy)]
pub(crate) enum Parameter {
    Key,
    Value,
    Expected,
    Known,
    Changed,
}

impl StoreMethod {
    pub(super) fn arguments(self) -> &'static [Parameter] {
        use Parameter::{Changed, Expected, Key, Known, Value};
        match self {
            Self::Read => &[Key],
            Self::Write => &[Key, Value, Expected],
            Self::ReadIfChanged => &[Key, Known],
            Self::Watch => &[Key, Changed],
        }
    }

    /// The alias of the outcome in `macro_support`.
    pub(super) fn outcome(self, span: Span) -> TokenStream {
        match self {
            Self::Read => quote_spanned!(span=> __flagcache::StoredValue),
            Self::Write => quote_spanned!(span=> __flagcache::Written),
            Self::ReadIfChanged => quote_spanned!(span=> __flagcache::StoredChange),
            Self::Watch => quote_spanned!(span=> bool),
        }
    }
}

impl Contract for StoreMethod {
    const ATTRIBUTE: &'static str = "flag_cache_store";
    const TRAIT: &'static str = "VersionedStore";
    const NOUN: &'static str = "store";
    const SHARED: &'static str = "SharedStore";
    const ALL: &'static [Self] = &[Self::Read, Self::Write, Self::ReadIfChanged, Self::Watch];
    const OTHER_FORMS: &'static str = "plain `fn` does as well; `read_if_changed` and `watch` are optional; all methods stand in one block";

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadIfChanged => "read_if_changed",
            Self::Watch => "watch",
        }
    }

    fn is_required(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }

    fn returns_at_once(self) -> bool {
        self == Self::Watch
    }

    fn parameters(self) -> Vec<&'static str> {
        self.arguments()
            .iter()
            .map(|given| given.written())
            .collect()
    }

    fn value(self) -> &'static str {
        match self {
            Self::Read => "Option<(Bytes, Version)>",
            Self::Write => "Option<Version>",
            Self::ReadIfChanged => "ReadIfChanged",
            Self::Watch => "",
        }
    }

    fn usually_fails(self) -> bool {
        true
    }

    fn wrong_argument(self, _index: usize, _ty: &Type) -> Option<&'static str> {
        // The types of the parameters decide what is accepted.
        None
    }

    /// Whether there are notifications may be returned in several forms.
    fn check_immediate(self, _signature: &Signature, _errors: &mut Errors) {}

    fn lookalike(written: &str, absent: &[Self]) -> Option<Lookalike<Self>> {
        // `read` is one or two letters away from many words: only a longer name was probably meant.
        let similar = |meant: &Self| meant.name().len() > 5 && is_similar(written, meant.name());
        absent.iter().copied().find(similar).map(Lookalike::Of)
    }
}

impl fmt::Display for StoreMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Parameter {
    pub(super) fn written(self) -> &'static str {
        match self {
            Self::Key => "key: &str",
            Self::Value => "value: Bytes",
            Self::Expected => "expected: Expected",
            Self::Known => "known: &Version",
            Self::Changed => "changed: ChangeNotifier",
        }
    }

    pub(super) fn name(self) -> Ident {
        let name = match self {
            Self::Key => "__key",
            Self::Value => "__value",
            Self::Expected => "__expected",
            Self::Known => "__known",
            Self::Changed => "__changed",
        };
        Ident::new(name, Span::mixed_site())
    }

    /// Its type in the trait.
    pub(super) fn ty(self) -> TokenStream {
        match self {
            Self::Key => quote!(&'__given str),
            Self::Value => quote!(__flagcache::GivenBytes),
            Self::Expected => quote!(__flagcache::Expected),
            Self::Known => quote!(&'__known __flagcache::Version),
            Self::Changed => quote!(__flagcache::ChangeNotifier),
        }
    }

    /// Makes an owned value of it: a body may run on another thread.
    pub(super) fn owned(self) -> Option<TokenStream> {
        let name = self.name();
        match self {
            Self::Key => Some(quote!(let #name = __flagcache::String::from(#name);)),
            Self::Known => Some(
                quote!(let #name = <__flagcache::Version as __flagcache::Clone>::clone(#name);),
            ),
            Self::Value | Self::Expected | Self::Changed => None,
        }
    }
}
