//! The network as data: one table that trainer, exporter, file and runtime all read.
//!
//! LBAM (Xie et al., "Image Inpainting with Learnable Bidirectional Attention Maps",
//! ICCV 2019) is a U-Net of 4x4 stride-2 convolutions whose features are multiplied, layer
//! by layer, by attention maps computed from the mask alone:
//!
//! ```text
//! encoder  l = 1..7   f = conv(e_{l-1})        e_l = leaky(f * A_l)
//! forward  l = 1..7   m = maskconv(u_{l-1})    A_l = gA(m), u_l = gM(m)     u_0 = M
//! reverse  l = 1..6   r = revconv(v_{l-1})     R_l = gA(r), v_l = gM(r)     v_0 = 1 - M
//! decoder  l = 6..1   d_l = leaky(deconv(d_{l+1}) * R_l) beside e_l          d_7 = e_7
//! output              (tanh(deconv(e_1, d_1)) + 1) / 2
//! ```
//!
//! The skip half of the paper's decoder features is `leaky(f_l * A_l)`, which is `e_l`: the
//! encoder's output is kept and nothing else.
//!
//! Everything follows from one number, the base channels, so there is no list of layers to
//! parse and none that could be wrong: a model file states its base channels, and its tensors
//! are checked against [`Network::parameters`]. Names and layouts are those of the authors'
//! PyTorch implementation, so their checkpoints need no translation.
//!
//! ```
//! use lbam::net::{Network, Preset};
//!
//! let small = Network::from(Preset::Small);
//! assert_eq!(small.channels(), [16, 32, 64, 128, 128, 128, 128]);
//! assert_eq!(small.parameters()[0].name, "ec1.conv.conv.weight");
//! ```
//!
//! The paper's ablations change what the maps are and nothing else: [`Variant`].
//!
//! Hazard: decoder layers count downwards here (decoder layer `l` makes the features beside
//! `e_l`, and layer 0 makes the picture), while the authors' names count upwards from the
//! deepest (`dc1` .. `dc7`). [`Network::decoder`] is the one place that translates.
#![forbid(unsafe_code)]

mod activation;
mod field;
mod packing;
mod table;
mod variant;

pub use activation::{ActivationClamp, Attention, CLAMPS, LEAKY_SLOPE, MASK_UPDATE_POWER};
pub use field::window;
pub use packing::{GROUP, INPUT_CHANNELS, LANES, PAIR, Packing, TABLE, padded};
pub use table::{
    Conv, Deconv, ENCODER_LAYERS, KERNEL, NetError, Network, Parameter, Preset, REVERSE_LAYERS,
    SIDE_MULTIPLE,
};
pub use variant::{MapActivation, MaskRule, Variant, partial_map, partial_update};
