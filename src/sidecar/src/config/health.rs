//! `[health]`: where one can ask how the sidecar is.

use leasehold_config::Section;

use super::socket::{self, Socket};

/// Where one can ask how the sidecar is. Answers hold names, versions and times, and never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The Unix socket.
    pub socket: Socket,
}

pub(super) fn read(section: Section<'_>) -> Option<Health> {
    let socket = socket::read(&section);
    section.finish();
    Some(Health { socket: socket? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn it_needs_a_place() {
        let health = read_section("socket = '/run/x/health.sock'\nmode = '0660'", read).unwrap();
        assert_eq!(health.socket.mode, 0o660);
        assert!(faults_of("sokcet = 'x'", read).contains("did you mean `socket`?"));
    }
}
