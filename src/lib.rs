//! Live image inpainting on small computers with learnable bidirectional attention maps (LBAM).
//!
//! One package, two programs: `lbam-edge` fills holes in camera pictures on the device,
//! `lbam-desk` (feature `desk`) trains, imports, evaluates and exports the networks it runs.
//! Data flows down this list of rooms and never back up:
//!
//! * [`process`]: the program among others: the wish to end, lines to who runs it.
//! * [`net`]: the network as data; one layer table that everything else reads.
//! * [`mod@file`]: training weights, and the `.lbam` model file that devices map.
//! * [`kernels`]: the arithmetic.
//! * [`runtime`]: tract's graphs for floats, the integer stages beside them (that room says why they
//!   are no tract operators), and [`runtime::Session`], the one type others use.
//! * [`picture`]: frames, masks, colour, regions around holes, pasting, quality metrics.
//! * [`camera`], [`output`]: where frames and masks come from, where pictures go.
//! * [`service`]: the loop that never lets a hidden pixel pass.
//! * `desk`: training, import, export, evaluation.
//!
//! `unsafe` stands in four places: the kernels, the one line that maps a model file, and, in `desk`,
//! the one that replays a step recorded on a GPU and two with which its program begins.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod camera;
#[cfg(feature = "desk")]
pub mod desk;
pub mod file;
pub mod kernels;
pub mod net;
pub mod output;
pub mod picture;
pub mod process;
pub mod runtime;
pub mod service;
