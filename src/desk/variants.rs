//! A run's variant of the network: in its `config.json` the names of its parts, and the same as
//! that of the weights it goes on with.

use std::path::Path;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DeskError;
use super::run_config::RunConfig;
use crate::file::Weights;
use crate::net::Variant;

#[derive(Serialize, Deserialize)]
struct Names {
    attention: String,
    masks: String,
}

pub(super) fn serialize<S: Serializer>(variant: &Variant, to: S) -> Result<S::Ok, S::Error> {
    let (attention, masks) = (variant.attention().name().into(), variant.masks().name().into());
    Names { attention, masks }.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Variant, D::Error> {
    let Names { attention, masks } = Names::deserialize(from)?;
    Variant::named(&attention, &masks).map_err(D::Error::custom)
}

/// Refuses to go on with weights, those at `path`, of another variant than the run's.
///
/// # Errors
/// [`DeskError::Run`] then.
pub(super) fn same(config: &RunConfig, weights: &Weights, path: &Path) -> Result<(), DeskError> {
    let (found, wanted) = (weights.variant(), config.variant);
    if found == wanted {
        return Ok(());
    }
    let reason = format!(
        "the weights to begin with are of another variant ({found}) than the run ({wanted}); \
         leave --attention and --attention-masks out"
    );
    Err(DeskError::run(path, reason))
}
