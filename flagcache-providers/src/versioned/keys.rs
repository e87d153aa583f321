//! [`Keys`]: the keys of a service.

use super::VersionedConfigError;
use super::head::Slot;

#[derive(Debug)]
pub(super) struct Keys {
    pub(super) service: String,
    pub(super) head: String,
    pub(super) changes: String,
    slots: [String; 2],
}

impl Keys {
    pub(super) fn of(service: &str) -> Result<Self, VersionedConfigError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = service.starts_with(|c: char| c.is_ascii_alphanumeric())
            && service.len() <= 64
            && service.chars().all(inner);
        if !is_name {
            return Err(VersionedConfigError::Service(service.to_owned()));
        }
        // Not `:`, which NATS and some file systems do not accept.
        let key = |name: &str| format!("posthog/flags/{service}/{name}");
        Ok(Self {
            service: service.to_owned(),
            head: key("head"),
            changes: key("changes"),
            slots: [key("a"), key("b")],
        })
    }

    pub(super) fn slot(&self, slot: Slot) -> &str {
        &self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_part_of_every_key() {
        let keys = Keys::of("checkout-prod").unwrap();
        assert_eq!(keys.head, "posthog/flags/checkout-prod/head");
        assert_eq!(keys.slot(Slot::B), "posthog/flags/checkout-prod/b");
        let long = "x".repeat(65);
        for refused in ["", ".hidden", "a/b", "a:b", "a b", "ü", "../x", &long] {
            assert!(Keys::of(refused).is_err(), "{refused:?}");
        }
    }
}
