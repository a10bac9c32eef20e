//! Where training computes.

use std::thread::available_parallelism;

use burn::tensor::{Device, Tensor};

use super::DeskError;

/// The devices of a backend's name: the processor, or so many GPUs.
///
/// # Errors
/// [`DeskError::Backend`] for a backend this program was built without, [`DeskError::Gpus`] where
/// it does not find as many, [`DeskError::Idle`] where one does not compute.
pub fn devices(backend: &str, wanted: usize) -> Result<Vec<Device>, DeskError> {
    if let ("cpu" | "cpu-burn", 1) = (backend, wanted) {
        return Ok(vec![Device::flex()]);
    }
    let Some((mut devices, usual)) = gpus(backend) else {
        let has = [
            ("cpu", true),
            ("cpu-burn", true),
            ("wgpu", cfg!(feature = "wgpu")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("cuda", cfg!(feature = "cuda")),
        ];
        let has: Vec<_> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        return Err(DeskError::Backend { name: backend.to_owned(), has: has.join(", ") });
    };
    if devices.len() < wanted {
        let (backend, found) = (backend.to_owned(), devices.len());
        return Err(DeskError::Gpus { backend, found, wanted });
    }
    devices.truncate(wanted);
    if let (1, Some(usual)) = (wanted, usual) {
        devices = vec![usual];
    }
    for device in &devices {
        let idle = |reason| DeskError::Idle { backend: backend.to_owned(), reason };
        computes(device).map_err(idle)?;
    }
    Ok(devices)
}

/// Whether a sum comes out right. Where a kernel cannot be compiled, Burn's backends may do no more than
/// log it, and go on with whatever lies in memory.
fn computes(device: &Device) -> Result<(), String> {
    let sum = Tensor::<1>::from_floats([1.25, 2.5], device) + 0.5;
    let found = sum.try_into_data().map_err(|error| error.to_string())?;
    let found = found.try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    if found == [1.75, 3.0] { Ok(()) } else { Err(format!("a sum is {found:?}, not [1.75, 3.0]")) }
}

/// All GPUs of a backend (the processor's have none), and which of them it would take itself; `None`
/// where the program was built without it.
fn gpus(backend: &str) -> Option<(Vec<Device>, Option<Device>)> {
    match backend {
        "cpu" | "cpu-burn" => Some((Vec::new(), None)),
        #[cfg(feature = "wgpu")]
        "wgpu" => {
            let usual = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
            Some((Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(), Some(usual)))
        }
        #[cfg(feature = "vulkan")]
        "vulkan" => {
            let usual = Device::vulkan(burn::tensor::DeviceKind::DefaultDevice);
            Some((Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec(), Some(usual)))
        }
        #[cfg(feature = "cuda")]
        "cuda" => Some((Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(), None)),
        _ => None,
    }
}

/// Threads that make batches: for training on the processor, which has them all busy, one is
/// enough; a GPU is fed by all but one.
pub fn data_threads(backend: &str) -> usize {
    match backend {
        "cpu" | "cpu-burn" => 1,
        _ => available_parallelism().map_or(1, |all| all.get().saturating_sub(1).max(1)),
    }
}
