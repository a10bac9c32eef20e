//! Values of tensors, once a device has computed them.

use burn::tensor::Tensor;

use super::DeskError;

/// All of a tensor's.
///
/// # Errors
/// [`DeskError::Gpu`] where the device could not compute them.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeskError> {
    let data = tensor.try_into_data();
    let data = data.map_err(|error| DeskError::Gpu { reason: cause(&error.to_string()) })?;
    Ok(data.try_to_vec().expect("training is in 32-bit floats"))
}

/// The one of a tensor that has one.
///
/// # Errors
/// As [`floats`].
pub(super) fn number(tensor: Tensor<1>) -> Result<f32, DeskError> {
    Ok(floats(tensor)?[0])
}

/// Of Burn's chain of reasons the last, which began it.
fn cause(chain: &str) -> String {
    let noise = ["Caused by:", "Asked at:", "Backtrace", "No backtrace available"];
    let mut reasons = chain.lines().map(str::trim);
    let first =
        reasons.rfind(|line| !line.is_empty() && !noise.iter().any(|n| line.starts_with(n)));
    first.unwrap_or("no reason is given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_what_began_it() {
        let burns = "An error happened during execution\nCaused by:\n  Several failures at once\n\
                     Caused by:\n  skipped `KernelScalarBinop`: it needed memory\nCaused by:\n  \
                     An IO error happened\nCaused by:\n  out of device memory allocating 68157440 \
                     bytes\nNo backtrace available\nAsked at:\nNo backtrace available";
        let cause = cause(burns);
        assert_eq!(cause, "out of device memory allocating 68157440 bytes");
        let told = DeskError::Gpu { reason: cause }.to_string();
        assert!(told.contains("68157440 bytes") && told.contains("--batch"), "{told}");
        let other = DeskError::Gpu { reason: self::cause("") }.to_string();
        assert!(other.contains("no reason") && !other.contains("--batch"), "{other}");
    }
}
