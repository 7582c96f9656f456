//! `[runtime]`: threads.

use super::section::Section;

/// How requests are spread over threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Threads that serve requests. One is the fastest where cores are shared with the clients.
    pub threads: u32,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

pub(super) fn read(section: Section<'_>) -> Runtime {
    let runtime = Runtime { threads: section.within("threads", Runtime::default().threads, 1..=256) };
    section.finish();
    runtime
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    #[test]
    fn one_unless_said() {
        let read = |section: Section<'_>| Some(read(section));
        assert_eq!(read_section("", read).unwrap().threads, 1);
        assert!(faults_of("threads = 0", read).contains("it must be between 1 and 256"));
    }
}
