//! What can go wrong while a report is written.

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The page's template failed; only a fault of this crate can do that.
    #[error("the page's template: {0}")]
    Template(#[from] minijinja::Error),
    /// A value has no JSON.
    #[error("the page's data: {0}")]
    Json(#[from] serde_json::Error),
    /// The table of items could not be written.
    #[error("the table of items: {0}")]
    Table(#[from] csv::Error),
}
