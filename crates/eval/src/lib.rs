//! Metrics, intervals, paired tests, economics and the verdict: pure functions of the stored record.
//!
//! No model, clock, I/O or global randomness: what is random (the bootstrap) is seeded from the record, so that one record
//! gives one comparison. Start at [`comparison::Comparison::from_record`].
//!
//! What it rests on, as functions of plain numbers:
//! - intervals: [`interval`] (shares, macro-F1), [`mean`] (Student, clustered), [`crossed`] (items and runs), [`bootstrap`]
//!   (any statistic),
//! - two sides on the same items: [`paired`] (McNemar, equivalence), [`sequential`] (looking after every item), [`power`]
//!   (how many items),
//! - one run against an earlier one: [`regression`],
//! - other draws and seeds of the finalists' configurations: [`replication`],
//! - many tests: [`multiplicity`], as [`exploration`] asks for them,
//! - labels: [`learning_curve`], [`power_law`], [`backtest`], [`crossing`] (labels until fine-tuning wins), [`data_advantage`];
//!   [`requirement`] reads them from a record,
//! - stopping early: [`looking`], which the runner asks after every batch of the test set.
//! - answers under other conditions, and what leaks: [`agreement`], [`spread`], [`membership`], put together by [`probes`],

pub mod agreement;
pub mod arm;
pub mod backtest;
pub mod bootstrap;
pub mod budget;
pub mod calibration;
pub mod comparison;
pub mod contrast;
pub mod crossed;
pub mod crossing;
pub mod curve;
pub mod data_advantage;
pub mod distillation;
pub mod economics;
pub mod effort;
mod error;
mod evidence;
pub mod exploration;
pub mod fields;
pub mod gates;
pub mod graded;
pub mod interval;
pub mod learning_curve;
pub mod looking;
pub mod mean;
pub mod membership;
pub mod metrics;
pub mod multiplicity;
pub mod paired;
mod posterior;
pub mod power;
pub mod power_law;
pub mod probes;
pub mod regression;
pub mod replication;
pub mod requirement;
mod resample;
pub mod safety;
mod sample;
pub mod sequential;
pub mod spread;
pub mod stability;
pub mod table;
pub mod text_metrics;
pub mod verdict;
pub mod wording;

pub use error::Error;
pub use wording::metric_name;
