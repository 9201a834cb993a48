//! The number of threads that the operations use, and when to use more than one.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// Sets the number of worker threads for the whole process; only the first call has an effect, and only before the
/// first operation. Returns the number in force. `0` asks for the machine's cores.
pub fn set(threads: usize) -> usize {
    // An error says that the pool exists already, which the contract allows.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    count()
}

/// The number in force; default: the machine's cores.
pub fn count() -> usize {
    rayon::current_num_threads()
}

/// Runs `work` on one of the worker threads. A long row of small operations (a forward pass) should be inside: called
/// from any other thread, each operation has to hand itself over and wait to be woken, which takes longer than a small
/// operation.
pub fn within<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// Elementary operations below which waking other threads costs more than it saves (about 20 microseconds).
pub(crate) const SERIAL_WORK: usize = 1 << 16;

/// Runs `task(0) .. task(count)`, in parallel where `work` (elementary operations of all tasks) is worth it.
/// Tasks must not depend on each other; what a task computes must not depend on the number of threads.
///
/// Each thread takes the next task when it has ended one: halves handed out in advance would wait for the slower one.
pub(crate) fn for_each(count: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    if count <= 1 || work < SERIAL_WORK || self::count() == 1 {
        (0..count).for_each(task);
    } else {
        let next = AtomicUsize::new(0);
        (0..self::count().min(count)).into_par_iter().with_max_len(1).for_each(|_| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                task(index);
            }
        });
    }
}

/// A pointer to a slice that several tasks write to, each its own elements.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T> {
    pointer: *mut T,
    length: usize,
}

// SAFETY: the only access is through `slice`, whose contract excludes overlap between tasks.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), length: slice.len() }
    }

    /// Elements `start .. start + length`.
    ///
    /// # Safety
    /// The slice given to `new` must still be borrowed by the caller, and no two live slices may overlap.
    #[expect(clippy::mut_from_ref, reason = "the contract excludes overlap")]
    pub(crate) unsafe fn slice(&self, start: usize, length: usize) -> &mut [T] {
        assert!(start <= self.length && length <= self.length - start, "task's elements out of bounds");
        // SAFETY: in bounds (checked); borrowed and not overlapping by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }

    /// The address of element `start`; `length` elements from there are checked to exist.
    pub(crate) fn address(&self, start: usize, length: usize) -> *mut T {
        assert!(start <= self.length && length <= self.length - start, "task's elements out of bounds");
        // SAFETY: in bounds (checked).
        unsafe { self.pointer.add(start) }
    }
}
