//! The check of a commit's conditions against the state that the commits before it left.

use leasehold_core::state::{Condition, Key, LedgerError, Revision};

/// Whether all conditions hold, given a look at the revision of a key (`None` when it does not exist).
///
/// # Errors
/// [`LedgerError::Conflict`] with the first key that is not as expected, or what the look itself failed with.
pub(crate) fn check(
    conditions: &[Condition],
    mut revision: impl FnMut(&Key) -> Result<Option<Revision>, LedgerError>,
) -> Result<(), LedgerError> {
    for condition in conditions {
        let (key, expected) = match condition {
            Condition::Absent(key) => (key, None),
            Condition::Unchanged(key, at) => (key, Some(*at)),
        };
        if revision(key)? != expected {
            return Err(LedgerError::Conflict(key.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_that_changed_is_named() {
        let (a, b) = (Key::from_stored("a"), Key::from_stored("b"));
        let look = |key: &Key| Ok((key.as_str() == "b").then_some(3));
        let absent = |key: &Key| Condition::Absent(key.clone());
        assert_eq!(check(&[absent(&a), Condition::Unchanged(b.clone(), 3)], look), Ok(()));
        assert_eq!(check(&[absent(&a), absent(&b)], look), Err(LedgerError::Conflict(b.clone())));
        assert_eq!(check(&[Condition::Unchanged(a.clone(), 1)], look), Err(LedgerError::Conflict(a)));
        assert_eq!(check(&[Condition::Unchanged(b.clone(), 2)], look), Err(LedgerError::Conflict(b)));
    }
}
