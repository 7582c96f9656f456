//! The broker's program: the allocator, the file system, and the way into the library.

#[cfg(not(feature = "jemalloc"))]
use std::alloc::System as Inner;
use std::{process::ExitCode, sync::Arc};

use leasehold_audit::SystemFiles;
use leaseholdd::clock::Sources;
#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc as Inner;

/// Every allocation is zeroed when it is freed, so that a value does not outlive its owner in the heap.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<Inner> = zeroizing_alloc::ZeroAlloc(Inner);

fn main() -> ExitCode {
    leaseholdd::program::main(Arc::new(SystemFiles), Sources::default())
}
