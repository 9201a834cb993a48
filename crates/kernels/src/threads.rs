//! The number of threads that the operations use.

/// Sets the number of worker threads for the whole process; only the first call has an effect. Returns the number in force.
pub fn set(threads: usize) -> usize {
    todo!()
}
/// The number in force; default: the machine's cores.
pub fn count() -> usize {
    todo!()
}
