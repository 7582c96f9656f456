//! The sidecar's program: the allocator, and the way into the library.

use std::{alloc::System, process::ExitCode};

use leasehold_sidecar::clock::Sources;
use zeroizing_alloc::ZeroAlloc;

/// What held a value is wiped when it is freed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    leasehold_sidecar::program::main(Sources::default())
}
