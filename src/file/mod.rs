//! Files of weights.
mod atomic;
mod error;
mod weights;
pub use atomic::write_atomically;
pub use error::FileError;
pub use weights::Weights;
