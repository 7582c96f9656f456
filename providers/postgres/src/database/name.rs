//! The name of a lease's user: a prefix, the role, and the lease's id, so that whoever sees the user finds the lease.

use leasehold_core::LeaseId;
use thiserror::Error;

/// How users are called: `lh_<role>_<lease>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNames {
    prefix: String,
    longest: usize,
}

/// Not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the prefix of users' names is 1 to 8 characters of a-z 0-9, a letter first")]
pub struct InvalidPrefix;

/// The characters of a lease's id.
const LEASE: usize = 26;

impl UserNames {
    /// Names with this prefix, of at most so many bytes: 63 in PostgreSQL, 32 in MySQL.
    ///
    /// # Errors
    /// When the prefix is none.
    pub fn new(prefix: &str, longest: usize) -> Result<Self, InvalidPrefix> {
        let ok = (1..=8).contains(&prefix.len())
            && prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if ok { Ok(Self { prefix: prefix.to_owned(), longest }) } else { Err(InvalidPrefix) }
    }

    /// What every name starts with.
    pub fn start(&self) -> String {
        format!("{}_", self.prefix)
    }

    /// The name of a lease's user: lower-case letters, digits and `_`. Of the role as much as there is room for.
    pub fn of(&self, role: &str, lease: LeaseId) -> String {
        let taken = self.prefix.len().saturating_add(LEASE).saturating_add(2);
        let room = self.longest.saturating_sub(taken);
        let shown = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let role: String = role.chars().map(shown).take(room).collect();
        let separator = if role.is_empty() { "" } else { "_" };
        format!("{}_{role}{separator}{}", self.prefix, lease.suffix())
    }

    /// The lease that a user is of; `None` when the user is none of ours.
    pub fn lease(&self, name: &str) -> Option<LeaseId> {
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix('_')?;
        let suffix = rest.rsplit('_').next()?;
        format!("{}{suffix}", LeaseId::PREFIX).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_role_the_name_fits_and_says_its_lease(role in ".*", bits: [u8; 16], longest in 32_usize..64) {
            let names = UserNames::new("lh", longest).unwrap();
            let lease = LeaseId::from_bits(bits);
            let name = names.of(&role, lease);
            prop_assert!(name.len() <= longest, "{}", name);
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            prop_assert_eq!(names.lease(&name), Some(lease));
        }

        #[test]
        fn no_name_panics(name in ".*") {
            let _ = UserNames::new("lh", 63).unwrap().lease(&name);
        }
    }

    #[test]
    fn the_users_of_another_broker_are_not_ours() {
        let (ours, theirs) = (UserNames::new("lh", 63).unwrap(), UserNames::new("lhb", 63).unwrap());
        let name = theirs.of("app", LeaseId::from_bits([1; 16]));
        assert_eq!(ours.lease(&name), None);
        assert!(theirs.lease(&name).is_some());
        for name in ["postgres", "lh_app", "lh", "lh_app_short"] {
            assert_eq!(ours.lease(name), None, "{name}");
        }
        for bad in ["", "LH", "l_h", "1h", "toolongname"] {
            assert_eq!(UserNames::new(bad, 63), Err(InvalidPrefix), "{bad}");
        }
    }
}
