//! What the process does to itself before it touches a secret: no core dumps, no tracing by others, no new privileges,
//! no readable files, no swapping. Safe system calls only; before any thread is started, since some hold for a thread.

use std::io;

use rustix::{
    fs::Mode,
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
    thread::{CapabilitySet, capabilities, clear_ambient_capability_set, set_no_new_privs},
};

/// One measure, and whether it holds.
#[derive(Debug)]
pub struct Measure {
    /// What holds, or would.
    pub name: &'static str,
    /// Why it does not.
    pub outcome: Result<(), String>,
}

/// Takes every measure. None of them is worth not serving for, so failures are for the log.
pub fn harden() -> Vec<Measure> {
    umask(Mode::RWXG | Mode::RWXO);
    vec![
        measure("core dumps off", no_core_dumps()),
        measure(
            "not dumpable",
            set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from),
        ),
        measure("no new privileges", set_no_new_privs(true).map_err(io::Error::from)),
        // What the unit gives so that a program runs as another user is not for the program: with it, that one could be root.
        measure("no privileges for programs", clear_ambient_capability_set().map_err(io::Error::from)),
        Measure { name: "memory locked", outcome: lock_memory() },
        Measure { name: "open files", outcome: many_files() },
    ]
}

fn measure(name: &'static str, outcome: io::Result<()>) -> Measure {
    Measure { name, outcome: outcome.map_err(|error| error.to_string()) }
}

fn no_core_dumps() -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Locks memory as it is touched. With a limit in force, a later allocation would fail and end the process, so memory is
/// only locked where there is none.
fn lock_memory() -> Result<(), String> {
    let privileged = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let Rlimit { current, maximum } = getrlimit(Resource::Memlock);
    if !privileged {
        match (current, maximum) {
            (None, _) => {}
            (Some(_), None) => setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
                .map_err(|error| error.to_string())?,
            (Some(limit), Some(_)) => {
                return Err(format!(
                    "at most {limit} bytes may be locked: set LimitMEMLOCK=infinity, or turn swap off"
                ));
            }
        }
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| io::Error::from(error).to_string())
}

/// Every connection is a file: the soft limit is raised to the hard one.
fn many_files() -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|error| io::Error::from(error).to_string())
}

#[cfg(test)]
mod tests {
    use rustix::thread::{
        CapabilitySets, capability_is_in_ambient_set, configure_capability_in_ambient_set, set_capabilities,
    };

    use super::*;

    #[test]
    fn no_program_is_given_what_the_broker_may_do() {
        // Of this thread, and nobody else's.
        let given = CapabilitySet::SETUID;
        let sets = capabilities(None).unwrap();
        if sets.permitted.contains(given) {
            set_capabilities(None, CapabilitySets { inheritable: sets.inheritable | given, ..sets }).unwrap();
            configure_capability_in_ambient_set(given, true).unwrap();
            let status =
                || std::process::Command::new("cat").arg("/proc/self/status").output().unwrap().stdout;
            let shown = || String::from_utf8(status()).unwrap();
            assert!(shown().contains("CapAmb:\t0000000000000080"), "a program has it");
            clear_ambient_capability_set().unwrap();
            assert!(shown().contains("CapAmb:\t0000000000000000"), "and has not");
        }
        clear_ambient_capability_set().unwrap();
        assert!(!capability_is_in_ambient_set(given).unwrap());
    }

    #[test]
    fn dumps_are_off_and_files_are_private_afterwards() {
        no_core_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        many_files().unwrap();
        let files = getrlimit(Resource::Nofile);
        assert_eq!(files.current, files.maximum);
    }
}
