//! Work that blocks a thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Reading and writing the database blocks; the runtime is told so. One that has a single thread, the simulator's, has
/// nobody to hand its other tasks to.
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(f),
        _ => f(),
    }
}
