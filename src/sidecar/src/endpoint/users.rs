//! Users and groups of this machine, by name or by number.

use thiserror::Error;

/// No such user or group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "there is no {what} `{name}` on this machine: write a name that `getent {database}` knows, or a number"
)]
pub struct UnknownUser {
    what: &'static str,
    database: &'static str,
    name: String,
}

/// A user's number.
pub(crate) fn user(text: &str) -> Result<u32, UnknownUser> {
    let found = text.parse().ok().or_else(|| Some(uzers::get_user_by_name(text)?.uid()));
    found.ok_or_else(|| UnknownUser { what: "user", database: "passwd", name: text.to_owned() })
}

/// A group's number.
pub(crate) fn group(text: &str) -> Result<u32, UnknownUser> {
    let found = text.parse().ok().or_else(|| Some(uzers::get_group_by_name(text)?.gid()));
    found.ok_or_else(|| UnknownUser { what: "group", database: "group", name: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_known() {
        assert_eq!((user("root"), user("4711"), group("root")), (Ok(0), Ok(4711), Ok(0)));
        assert!(user("nobody-of-that-name").unwrap_err().to_string().contains("getent passwd"));
    }
}
