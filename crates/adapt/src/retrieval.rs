//! Retrieval of examples.
