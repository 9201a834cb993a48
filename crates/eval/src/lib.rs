//! Metrics, intervals, paired tests, economics and the verdict: pure functions of the stored record.
//!
//! No model, clock, I/O or global randomness: what is random (the bootstrap) is seeded from the record, so that one record gives one
//! comparison. Start at [`comparison::Comparison::from_record`].

pub mod calibration;
mod error;
pub mod metrics;

pub use error::Error;
