//! adapt

pub mod floor;
pub mod retrieval;
pub mod selection;
pub mod text;
