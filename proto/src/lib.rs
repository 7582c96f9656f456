//! The contract of the broker, as Rust types: messages, clients and servers of the package `leasehold.v1`.
//!
//! The code is generated from `leasehold/v1/*.proto` with protox and committed, so that nobody needs protoc; a test
//! generates it again and fails on a difference. Nothing here knows the broker's domain.
//!
//! The one message that holds secrets, [`v1::SecretValue`], is not as prost makes it: it prints itself redacted, within
//! other messages too, and wipes its fields when it is dropped. So its fields are taken with [`std::mem::take`].

mod secret_value;

/// The package `leasehold.v1`.
#[expect(clippy::allow_attributes, reason = "generated code silences lints in its own way")]
pub mod v1 {
    include!("gen/leasehold.v1.rs");
}

/// The package's descriptors with everything that they import: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/leasehold.v1.fds");

/// The `domain` of every `google.rpc.ErrorInfo` that the broker sends.
pub const ERROR_DOMAIN: &str = "leasehold.dev";

impl v1::ErrorReason {
    const PREFIX: &str = "ERROR_REASON_";

    /// The reason as `google.rpc.ErrorInfo` carries it, such as `LEASE_EXPIRED`.
    pub fn as_reason(&self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix(Self::PREFIX).unwrap_or(name)
    }

    /// The reason of that name, when this version knows it.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::from_str_name(&format!("{}{reason}", Self::PREFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::v1::ErrorReason;

    #[test]
    fn reasons_go_both_ways() {
        assert_eq!(ErrorReason::LeaseExpired.as_reason(), "LEASE_EXPIRED");
        assert_eq!(ErrorReason::from_reason("LEASE_EXPIRED"), Some(ErrorReason::LeaseExpired));
        assert_eq!(ErrorReason::from_reason("ERROR_REASON_LEASE_EXPIRED"), None);
    }
}
