//! [`Contract`]: a trait that an attribute implements, as the table of its methods. The checks, the messages and the frame
//! of the expansion are the same for every contract.

use std::fmt::Display;

use proc_macro2::TokenStream;
use syn::{Generics, Signature, Type};

use crate::errors::Errors;
use crate::parse::Method;
use crate::similar::Lookalike;

/// A method of the contract.
pub(crate) trait Contract: Copy + PartialEq + Display + 'static {
    /// The attribute on the block.
    const ATTRIBUTE: &'static str;
    /// The trait that is implemented.
    const TRAIT: &'static str;
    /// What the block is, in messages.
    const NOUN: &'static str;
    /// The trait of `macro_support` that checks that the type can be shared.
    const SHARED: &'static str;
    /// In the order in which messages list them.
    const ALL: &'static [Self];
    /// What the message about missing methods adds.
    const OTHER_FORMS: &'static str;

    /// Its name in the trait.
    fn name(self) -> &'static str;

    /// Whether the trait has no default implementation of it.
    fn is_required(self) -> bool;

    /// Whether it is a plain `fn` of the trait, which is not awaited.
    fn returns_at_once(self) -> bool;

    /// The parameters besides `&self`, as one writes them.
    fn parameters(self) -> Vec<&'static str>;

    /// The value that it returns, without `Result`; empty for none.
    fn value(self) -> &'static str;

    /// Whether a `Result` of the value is usual.
    fn usually_fails(self) -> bool;

    /// What is wrong with the type of the parameter at `index`, if it can be seen.
    fn wrong_argument(self, index: usize, ty: &Type) -> Option<&'static str>;

    /// Checks the return type of a method that returns at once.
    fn check_immediate(self, signature: &Signature, errors: &mut Errors);

    /// The method that `written` was probably meant to be, of those that the block does not have.
    fn lookalike(written: &str, absent: &[Self]) -> Option<Lookalike<Self>>;

    /// The method with this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|method| method.name() == name)
    }

    /// The methods without a default.
    fn required() -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(|method| method.is_required())
    }

    /// The parameter list, for messages.
    fn parameter_list(self) -> String {
        let all: Vec<_> = std::iter::once("&self").chain(self.parameters()).collect();
        format!("({})", all.join(", "))
    }

    /// The usual signature, for messages.
    fn signature(self) -> String {
        let asyncness = if self.returns_at_once() { "" } else { "async " };
        let value = self.value();
        let output = match (value, self.usually_fails()) {
            ("", _) => String::new(),
            (value, false) => format!(" -> {value}"),
            (value, true) => format!(" -> Result<{value}, E>"),
        };
        format!("{asyncness}fn {self}{}{output}", self.parameter_list())
    }
}

/// The output for a method of the contract.
pub(crate) trait Forward: Contract {
    /// The trait's method, which calls `method`.
    fn forwarder(self, method: &Method, generics: &Generics) -> TokenStream;

    /// The trait's method with this body.
    fn stub(self, body: &TokenStream) -> TokenStream;
}
