//! What ends a credential, as the ledger keeps it, sealed.

use leasehold_core::{Timestamp, lease::RevocationHandle};
use serde::{Deserialize, Serialize};

/// What ends a credential. Of a reservation only the accessor is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle {
    /// Where it was made: what Vault answers of it in another namespace says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Of the token that the credential hangs on and nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accessor: Option<String>,
    /// Vault's own lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<String>,
    /// Whether Vault extends it.
    #[serde(default)]
    pub(crate) renewable: bool,
    /// Of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Certificate>,
}

/// A certificate that can be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// The path that does it.
    pub(crate) path: String,
    /// Its serial number.
    pub(crate) serial: String,
    /// Its own end.
    pub(crate) ends: Timestamp,
}

impl Handle {
    /// As the ledger keeps it.
    pub(crate) fn encode(&self) -> RevocationHandle {
        // Texts and numbers can always be written.
        RevocationHandle::new(serde_json::to_vec(self).unwrap_or_default().into())
    }

    /// From what the ledger kept.
    pub(crate) fn decode(handle: &RevocationHandle) -> Option<Self> {
        serde_json::from_slice(handle.expose()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_as_it_was() {
        let reserved = Handle { accessor: Some("a".into()), ..Handle::default() };
        let whole = Handle {
            namespace: Some("team-a/payments".into()),
            lease: Some("database/creds/x/y".into()),
            renewable: true,
            certificate: Some(Certificate {
                path: "pki/revoke".into(),
                serial: "0a:0b".into(),
                ends: Timestamp::UNIX_EPOCH,
            }),
            ..reserved.clone()
        };
        for handle in [Handle::default(), reserved, whole] {
            assert_eq!(Handle::decode(&handle.encode()), Some(handle));
        }
        assert_eq!(Handle::decode(&RevocationHandle::new(b"none".to_vec().into())), None);
    }
}
