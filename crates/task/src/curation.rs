//! curation
