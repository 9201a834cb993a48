//! The number of threads that the operations use, and when to use more than one.

mod pool;

use std::cell::Cell;
use std::sync::OnceLock;

pub(crate) use pool::Pool;

static POOL: OnceLock<Pool> = OnceLock::new();

thread_local! {
    /// The pool of [`within_pool`].
    static OWN: Cell<Option<&'static Pool>> = const { Cell::new(None) };
}

/// Sets the number of threads for the whole process, also those of `rayon`, which other libraries use; only the first
/// call has an effect, and only before the first operation. Returns the number in force. `0` asks for the machine's
/// cores.
pub fn set(threads: usize) -> usize {
    // An error says that the pool exists already, which the contract allows.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    POOL.get_or_init(|| Pool::new(if threads == 0 { cores() } else { threads })).threads()
}

/// The number in force; default: the machine's cores.
pub fn count() -> usize {
    current().threads()
}

/// Runs `work` where operations are fastest: on the calling thread, which is one of those that operations use.
pub fn within<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    work()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn current() -> &'static Pool {
    OWN.get().unwrap_or_else(|| POOL.get_or_init(|| Pool::new(cores())))
}

/// Runs `work` with a pool of its own.
#[cfg(test)]
pub(crate) fn within_pool<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    // A few pools of a few threads, never dropped, in tests only.
    let before = OWN.replace(Some(Box::leak(Box::new(Pool::new(threads)))));
    let result = work();
    OWN.set(before);
    result
}

/// Elementary operations below which handing work to other threads costs more than it saves (about 5 microseconds).
pub(crate) const SERIAL_WORK: usize = 1 << 14;

/// Runs `task(0) .. task(count)`, in parallel where `work` (elementary operations of all tasks) is worth it.
/// Tasks must not depend on each other; what a task computes must not depend on the number of threads.
pub(crate) fn for_each(count: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    if count <= 1 || work < SERIAL_WORK {
        (0..count).for_each(task);
    } else {
        current().run(count, task);
    }
}

/// Calls `task(index, part)` for every part of `chunk` elements of `values` (the last may be shorter), in parallel.
/// Parts must not depend on each other.
pub fn for_each_chunk<T: Send>(values: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync + Send) {
    let (length, chunk) = (values.len(), chunk.max(1));
    let values = Shared::new(values);
    for_each(length.div_ceil(chunk), length, |index| {
        // SAFETY: each part belongs to one task.
        task(index, unsafe { values.slice(index * chunk, chunk.min(length - index * chunk)) });
    });
}

/// Calls `task(index, value)` for every one of `values`, in parallel where `work` (elementary operations of all calls) is worth
/// it. Calls must not depend on each other.
pub fn for_each_value<T: Send>(values: &mut [T], work: usize, task: impl Fn(usize, &mut T) + Sync + Send) {
    let count = values.len();
    let values = Shared::new(values);
    for_each(count, work, |index| {
        // SAFETY: each value belongs to one task.
        task(index, &mut unsafe { values.slice(index, 1) }[0]);
    });
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
