//! What of this process's environment is not for the programs that it runs.

use std::{env, ffi::OsString};

/// Whether this is the name of a variable: letters, digits and `_`, and no digit first (POSIX.1-2024, 8.1; small letters
/// are used by some programs).
pub fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The variables that are set here and are ours: how the broker is reached, and what systemd tells its service alone
/// (`sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_listen_fds(3)`, credentials).
pub fn own_variables() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_own))
}

fn is_own(name: &str) -> bool {
    const SYSTEMD: [&str; 9] = [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
        "CREDENTIALS_DIRECTORY",
        "SPIFFE_ENDPOINT_SOCKET",
    ];
    name.starts_with("LEASEHOLD_") || SYSTEMD.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_broker_is_reached_is_ours_and_the_rest_is_not() {
        assert!(is_own("LEASEHOLD_KEY") && is_own("NOTIFY_SOCKET"));
        assert!(!is_own("PATH") && !is_own("XLEASEHOLD_KEY"));
    }

    #[test]
    fn a_variable_has_a_name_that_shells_can_say() {
        for good in ["DB_PASSWORD", "_x", "a1"] {
            assert!(is_variable(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "A B", "A=B", "ü"] {
            assert!(!is_variable(bad), "{bad}");
        }
    }
}
