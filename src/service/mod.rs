//! The loop: newest frame in, holes filled, picture out.
//!
//! ```text
//! capture ──> decode ──> loop: guard, with Fill (the network) ──> outputs: sinks, watchdog
//!                                │ masks ──> guard
//! ```
//!
//! Each has a thread, so that the rate is that of the slowest; between two of them one frame
//! waits at most, and where only the newest counts it is replaced while it waits: no picture
//! grows old in a queue. On one core decoding and outputs happen in the loop's thread, where
//! threads could only take turns. Every frame lies in memory that comes back by itself
//! ([`crate::picture::Pool`]): after the first frames none is allocated.
//!
//! The room does not know the network: it works with whatever implements [`Fill`].
//!
//! ```
//! use lbam::picture::{Frame, Mask, paint_flat};
//! use lbam::process::Stop;
//! use lbam::service::{Fill, FillError, LiveOptions, run};
//!
//! /// The plainest filler there is.
//! #[derive(Default)]
//! struct Flat(Option<Mask>);
//!
//! impl Fill for Flat {
//!     fn set_mask(&mut self, mask: &Mask) -> Result<(), FillError> {
//!         self.0 = Some(mask.clone());
//!         Ok(())
//!     }
//!     fn fill(&mut self, frame: &mut Frame) -> Result<(), FillError> {
//!         paint_flat(frame, self.0.as_ref().ok_or(FillError::NotReady)?)?;
//!         Ok(())
//!     }
//! }
//!
//! let folder = tempfile::tempdir()?;
//! let options = LiveOptions {
//!     camera: "test:64x48".parse()?,
//!     masks: vec!["rect:30%,30%,20%,20%".parse()?],
//!     outputs: vec![folder.path().join("out.y4m").display().to_string().parse()?],
//!     frames: Some(3),
//!     ..LiveOptions::default()
//! };
//! let statistics = run(&options, Box::new(Flat::default()), &Stop::default())?;
//! assert_eq!(statistics.filled, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Hazard: whatever goes wrong, no hidden pixel may reach a sink. That is not left to care:
//! sinks take a `Cleared` frame, and only `guard.rs` can make one.
#![forbid(unsafe_code)]

mod args;
mod capture;
pub mod commands;
mod config;
mod doctor;
mod error;
mod fill;
mod filler;
mod guard;
mod hand_over;
mod live;
mod notify;
mod outputs;
mod reload;
mod report;
mod statistics;

pub use args::{
    BenchArgs, Cli, Command, CompletionsArgs, DetailArgs, ImageArgs, InfoArgs, LiveArgs, ManArgs,
    Size,
};
pub use error::ServiceError;
pub use fill::{Fill, FillError};
pub use filler::{Filler, NETWORK_SIDE, open_model};
pub use live::{LiveOptions, run, run_reloading};
pub use reload::{Reload, Reloaded};
pub use statistics::Statistics;
