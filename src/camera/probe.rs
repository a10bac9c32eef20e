//! A look at a camera without taking pictures from it: for the doctor.

use std::panic::catch_unwind;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::{io, panic::AssertUnwindSafe};

#[cfg(target_os = "linux")]
use v4l::{Capabilities, Device, capability::Flags};

use super::CameraError;

/// What a camera says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub card: String,
    pub driver: String,
    /// Codes of the picture formats it offers; none for nodes that give no pictures.
    pub formats: Vec<String>,
    /// Whether it gives pictures in several planes, which lbam does not read.
    pub planes: bool,
    /// Whether one of these is read by lbam.
    pub readable: bool,
}

/// Asks a device what it is. Another program that takes pictures from it is not disturbed.
///
/// # Errors
/// As [`super::open`] for cameras, except that a busy one is not found out.
pub fn probe(path: &Path) -> Result<Probe, CameraError> {
    // As in `v4l2`: the library panics on values that it has no name for.
    catch_unwind(|| ask(path)).unwrap_or_else(|_| {
        Err(CameraError::Driver {
            path: path.into(),
            reason: "it says something that the v4l library does not know".into(),
        })
    })
}

/// What a device is and can. The v4l crate panics at a name that is no UTF-8, as a long one that the
/// kernel cut within a character: such a device is called by its path, and what it cannot do shows when
/// it is asked to.
#[cfg(target_os = "linux")]
pub(crate) fn abilities(device: &Device, path: &Path) -> io::Result<Capabilities> {
    catch_unwind(AssertUnwindSafe(|| device.query_caps())).unwrap_or_else(|_| {
        log::warn!("{}: the device's name is no UTF-8, as above", path.display());
        Ok(Capabilities {
            driver: String::new(),
            card: path.display().to_string(),
            bus: String::new(),
            version: (0, 0, 0),
            capabilities: Flags::VIDEO_CAPTURE | Flags::VIDEO_OUTPUT | Flags::READ_WRITE,
        })
    })
}

#[cfg(not(target_os = "linux"))]
fn ask(path: &Path) -> Result<Probe, CameraError> {
    // The same answer as that of opening it.
    super::open(&super::SourceSpec::Device(path.into()))
        .map(|_| unreachable!("only Linux has V4L2"))
}

#[cfg(target_os = "linux")]
fn ask(path: &Path) -> Result<Probe, CameraError> {
    use super::v4l2::{FORMATS, explain};
    use v4l::video::Capture;

    let device = Device::with_path(path).map_err(|error| explain(path, error))?;
    let abilities = abilities(&device, path).map_err(|error| explain(path, error))?;
    // A node for metadata or for output has no list of picture formats: that is an answer too.
    let offered = device.enum_formats().unwrap_or_default();
    Ok(Probe {
        planes: abilities.capabilities.contains(Flags::VIDEO_CAPTURE_MPLANE),
        card: abilities.card,
        driver: abilities.driver,
        readable: offered.iter().any(|format| FORMATS.iter().any(|&f| *f == format.fourcc.repr)),
        formats: offered.iter().map(|format| format.fourcc.to_string()).collect(),
    })
}
