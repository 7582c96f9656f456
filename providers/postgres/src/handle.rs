//! What ends a user, and proves that it has ended, as the ledger keeps it, sealed.

use leasehold_core::{
    LeaseId, SecretBytes,
    lease::RevocationHandle,
    provider::{ErrorClass, ProviderError},
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Call;

/// What ends a user. It has the user's password, by which its end is tried; the ledger seals it, and forgets it with the
/// lease's end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Handle {
    /// Its name.
    pub(crate) name: String,
    /// The role of the configuration.
    pub(crate) role: String,
    /// Unknown of a user that was found on the server, and of one that was made before passwords were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Password>,
}

/// A password. It has no `Debug`.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(crate) struct Password(String);

impl Handle {
    /// Of a user of whom only this is known.
    pub(crate) fn found(name: String, role: String) -> Self {
        Self { name, role, password: None }
    }

    /// As the ledger keeps it.
    pub(crate) fn encode(&self) -> RevocationHandle {
        // Texts can always be written.
        RevocationHandle::new(SecretBytes::new(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// From what the ledger kept.
    pub(crate) fn read(call: Call<'_>, handle: &RevocationHandle) -> Result<Self, ProviderError> {
        serde_json::from_slice(handle.expose()).map_err(|_| not_ours(call))
    }

    /// What a handle names, if that is the user of this lease: no handle leads to anybody else.
    pub(crate) fn decode(
        call: Call<'_>,
        handle: &RevocationHandle,
        lease: LeaseId,
    ) -> Result<Self, ProviderError> {
        let read = Self::read(call, handle)?;
        if read.name.ends_with(&lease.suffix()) { Ok(read) } else { Err(not_ours(call)) }
    }
}

impl Password {
    pub(crate) fn new(password: &str) -> Self {
        Self(password.to_owned())
    }

    /// The password in clear.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

fn not_ours(call: Call<'_>) -> ProviderError {
    call.error(ErrorClass::Invalid, "what is kept of it names no user of this lease")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{database::UserNames, sql::LONGEST_NAME};

    #[test]
    fn a_handle_leads_to_nobody_elses_user() {
        let call = Call { verb: "end", on: "x" };
        let lease = LeaseId::from_bits([3; 16]);
        let names = UserNames::new("lh", LONGEST_NAME).unwrap();
        let mut own = Handle::found(names.of("app", lease), "app".into());
        own.password = Some(Password::new("canary"));
        let own = own.encode();
        assert!(!format!("{own:?}").contains("canary"));
        let read = Handle::decode(call, &own, lease).ok().unwrap();
        assert_eq!((&*read.role, read.password.as_ref().map(Password::expose)), ("app", Some("canary")));
        let other = LeaseId::from_bits([4; 16]);
        assert_eq!(Handle::decode(call, &own, other).err().unwrap().class, ErrorClass::Invalid);
        let root = Handle::found("postgres".into(), "app".into()).encode();
        assert!(Handle::decode(call, &root, lease).is_err());
        assert!(Handle::decode(call, &RevocationHandle::new(SecretBytes::from(vec![7])), lease).is_err());
    }

    #[test]
    fn a_handle_without_a_password_is_read_all_the_same() {
        let call = Call { verb: "end", on: "x" };
        let kept = br#"{"name":"lh_x","role":"app"}"#.to_vec();
        let read = Handle::read(call, &RevocationHandle::new(SecretBytes::new(kept))).ok().unwrap();
        assert!(read.name == "lh_x" && read.password.is_none());
    }
}
