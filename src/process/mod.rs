//! The program among others: who asks it to end, and what it says to who runs it.
//!
//! Below all other rooms, so that the service, its outputs and the desk's long work can be asked in
//! one way and speak in one way.
#![forbid(unsafe_code)]

mod seldom;
mod stop;
pub mod terminal;

pub use seldom::Seldom;
pub use stop::Stop;
