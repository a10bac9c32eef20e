use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::{Device, TensorData};

use super::*;
use crate::desk::random::{generator, unit};

/// Values, and the gradients of the sum of their squares with respect to input and weights.
type Outcome = [Vec<f32>; 3];

fn floats(data: TensorData) -> Vec<f32> {
    data.try_to_vec().expect("32-bit floats")
}

fn outcome(
    convolve: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
    (input, weight): &(TensorData, TensorData),
    device: &Device,
) -> Outcome {
    let input = Tensor::from_data(input.clone(), device).require_grad();
    let weight = Tensor::from_data(weight.clone(), device).require_grad();
    let output = convolve(input.clone(), weight.clone());
    let gradients = (output.clone() * output.clone()).sum().backward();
    let gradient = |tensor: Tensor<4>| floats(tensor.grad(&gradients).expect("tracked").to_data());
    [floats(output.to_data()), gradient(input), gradient(weight)]
}

/// Both convolutions on a device, and Burn's on the processor, for shapes that fill tiles and that do
/// not.
fn agree(device: &Device) {
    let processor = Device::flex().autodiff();
    // Pictures, channels of what is fine and coarse, and rows and columns of what is coarse.
    let shapes = [
        [2, 4, 16, 8, 8],
        [3, 1, 5, 2, 2],
        [1, 3, 8, 16, 4],
        [2, 70, 130, 4, 6],
        [2, 33, 3, 16, 12],
        [2, 5, 65, 64, 64],
        [4, 20, 17, 64, 64],
    ];
    for [count, fine, coarse, rows, columns] in shapes {
        let mut rng = generator(7, 0, (fine * coarse) as u64);
        let mut data = |shape: [usize; 4]| {
            let values =
                (0..shape.iter().product()).map(|_| unit(&mut rng) - 0.5).collect::<Vec<_>>();
            TensorData::new(values, shape)
        };
        let weight = data([coarse, fine, 4, 4]);
        let down = (data([count, fine, 2 * rows, 2 * columns]), weight.clone());
        let up = (data([count, coarse, rows, columns]), weight);
        let wanted = [
            outcome(|x, w| conv2d(x, w, None, options()), &down, &processor),
            outcome(
                |x, w| {
                    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
                    conv_transpose2d(x, w, None, options)
                },
                &up,
                &processor,
            ),
        ];
        let found = [outcome(halve, &down, device), outcome(double, &up, device)];
        for (wanted, found) in wanted.iter().flatten().zip(found.iter().flatten()) {
            assert_eq!(wanted.len(), found.len());
            let most = wanted.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (wanted, found) in wanted.iter().zip(found) {
                let apart = (wanted - found).abs();
                assert!(
                    apart <= 1e-5 * most,
                    "{apart} of {most} in {count} {fine} {coarse} {rows}"
                );
            }
        }
    }
}

#[test]
fn both_convolutions_and_their_gradients_are_burns() {
    agree(&Device::flex().autodiff());
}

/// On whatever Vulkan device there is, Mesa's software one too.
#[cfg(feature = "wgpu")]
#[test]
fn wgpus_kernels_compute_what_the_processor_does() {
    agree(&Device::wgpu(burn::tensor::DeviceKind::DefaultDevice).autodiff());
}

#[cfg(feature = "vulkan")]
#[test]
fn vulkans_kernels_compute_what_the_processor_does() {
    agree(&Device::vulkan(burn::tensor::DeviceKind::DefaultDevice).autodiff());
}

#[cfg(feature = "cuda")]
#[test]
fn cudas_kernels_compute_what_the_processor_does() {
    agree(&Device::cuda(0).autodiff());
}
