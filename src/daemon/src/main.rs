//! The broker's program: the allocator, the file system, and the way into the library.

use std::{process::ExitCode, sync::Arc};

use leasehold_audit::SystemFiles;

/// Every allocation is zeroed when it is freed, so that a value does not outlive its owner in the heap.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<tikv_jemallocator::Jemalloc> =
    zeroizing_alloc::ZeroAlloc(tikv_jemallocator::Jemalloc);

fn main() -> ExitCode {
    leaseholdd::program::main(Arc::new(SystemFiles))
}
