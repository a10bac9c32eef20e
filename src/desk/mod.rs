//! The desktop companion.
pub mod model;
