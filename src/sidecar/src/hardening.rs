//! What the process does to itself before it touches a secret: no core dumps, no tracing by others, no new privileges, no
//! readable files, no swapping. Before any thread is started, since some hold for a thread.

use std::{io, sync::OnceLock};

use rustix::{
    fs::Mode,
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
    thread::{CapabilitySet, capabilities},
};

/// One measure, and why it does not hold.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) outcome: Result<(), String>,
}

/// What a program of `exec` inherits, as it was before.
struct Before {
    umask: Mode,
    core: Option<u64>,
}

static BEFORE: OnceLock<Before> = OnceLock::new();
/// Files are for their owner only.
const OURS: Mode = Mode::RWXG.union(Mode::RWXO);

/// Starts a program as if nothing had been measured out for it: with the file mode mask and the limit of core dumps that the
/// sidecar was started with. Not for long: the mask is this process's meanwhile.
pub(crate) fn as_it_was<T>(start: impl FnOnce() -> T) -> T {
    let Some(before) = BEFORE.get() else { return start() };
    let limit = |current| setrlimit(Resource::Core, Rlimit { current, ..getrlimit(Resource::Core) });
    umask(before.umask);
    let _ = limit(before.core);
    let started = start();
    let _ = limit(Some(0));
    umask(OURS);
    started
}

/// Takes every measure. None of them is worth not serving for, so failures are for the log. What a program that is run by
/// `exec` must not inherit is not here but there: `no_new_privs` would break a program that is setuid.
pub(crate) fn harden() -> Vec<Measure> {
    let _ = BEFORE.set(Before { umask: umask(OURS), core: getrlimit(Resource::Core).current });
    vec![
        measure("core dumps off", no_core_dumps()),
        measure(
            "not dumpable",
            set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from),
        ),
        Measure { name: "memory locked", outcome: lock_memory() },
    ]
}

fn measure(name: &'static str, outcome: io::Result<()>) -> Measure {
    Measure { name, outcome: outcome.map_err(|error| error.to_string()) }
}

/// The soft limit only: it is given back to a program of `exec`.
fn no_core_dumps() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?)
}

/// Locks memory as it is touched. With a limit in force, a later allocation would fail and end the process, so memory is
/// only locked where there is none.
fn lock_memory() -> Result<(), String> {
    let privileged = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let Rlimit { current, .. } = getrlimit(Resource::Memlock);
    if let (Some(limit), false) = (current, privileged) {
        return Err(format!(
            "at most {limit} bytes may be locked: set LimitMEMLOCK=infinity, or turn swap off"
        ));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| io::Error::from(error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_off_afterwards() {
        no_core_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }
}
