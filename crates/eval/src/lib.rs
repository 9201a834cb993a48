//! Metrics, intervals, paired tests, economics and the verdict: pure functions of the stored record.
//!
//! No model, clock, I/O or global randomness: what is random (the bootstrap) is seeded from the record, so that one record gives one
//! comparison. Start at [`comparison::Comparison::from_record`].

pub mod arm;
pub mod calibration;
pub mod comparison;
pub mod contrast;
pub mod curve;
pub mod economics;
pub mod effort;
mod error;
mod evidence;
pub mod fields;
pub mod gates;
pub mod graded;
pub mod interval;
pub mod metrics;
pub mod paired;
mod posterior;
pub mod power;
mod resample;
pub mod table;
pub mod text_metrics;
pub mod verdict;
mod wording;

pub use error::Error;
pub use wording::metric_name;
