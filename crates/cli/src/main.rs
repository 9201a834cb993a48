//! The weigh binary.
fn main() {}
