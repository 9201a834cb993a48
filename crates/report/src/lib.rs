//! A comparison as people read it: one page without a network ([`html`]), a comment for a pull request ([`markdown`]), the whole
//! as JSON ([`Report`] serialises) and a table of the test items ([`items_csv`]).
//!
//! Everything here is a pure function of [`Report`]: no clock, no file, no model. What stands in the page's scripts
//! (`assets/economics.js`) repeats the formulas of `eval::economics`, `eval::gates` and `eval::verdict`, so that prices can be moved in
//! the page; `cargo xtask browser` holds the two against each other in a browser.

mod chart;
mod confusion;
mod csv_items;
mod error;
mod items;
mod markdown;
mod page;
mod report;
mod words;

pub use csv_items::items_csv;
pub use error::Error;
pub use items::{Given, Item, Items, Texts};
pub use markdown::markdown;
pub use page::html;
pub use report::{Provenance, Report, timed_requests};
