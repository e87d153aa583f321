//! [`Keys`]: the names of a service on the server.

/// The keys and the channel of one service.
///
/// Data and lock have the names of PostHog's own examples, so that workers of other SDKs share them.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Keys {
    pub(in crate::redis) data: String,
    pub(in crate::redis) lock: String,
    pub(in crate::redis) meta: String,
    pub(in crate::redis) patches: String,
    pub(in crate::redis) staging: String,
    pub(in crate::redis) channel: String,
}

impl Keys {
    pub(in crate::redis) fn of(service: &str) -> Self {
        let data = format!("posthog:flags:{service}");
        Self {
            lock: format!("{data}:lock"),
            meta: format!("{data}:meta"),
            patches: format!("{data}:patches"),
            staging: format!("{data}:staging"),
            channel: format!("{data}:changes"),
            data,
        }
    }

    /// Whether a cluster keeps the keys together: it hashes only the text between the first pair of braces, unless
    /// empty.
    pub(in crate::redis) fn are_tagged(&self) -> bool {
        let tag = self
            .data
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        tag.is_some_and(|(tag, _)| !tag.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_other_sdks() {
        let keys = Keys::of("checkout-prod");
        assert_eq!(keys.data, "posthog:flags:checkout-prod");
        assert_eq!(keys.lock, "posthog:flags:checkout-prod:lock");
    }

    #[test]
    fn a_hash_tag_in_the_name_reaches_every_key() {
        let keys = Keys::of("{checkout}");
        for key in [
            &keys.data,
            &keys.lock,
            &keys.meta,
            &keys.patches,
            &keys.staging,
        ] {
            assert!(key.starts_with("posthog:flags:{checkout}"), "{key}");
        }
    }
}
