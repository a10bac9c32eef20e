use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::TensorData;

use super::*;

const SETTINGS: AdamSettings = AdamSettings { betas: (0.5, 0.9), epsilon: 1e-8 };

#[derive(Module, Debug)]
struct Two {
    kernel: Param<Tensor<4>>,
    scalars: Param<Tensor<1>>,
}

fn two(device: &Device) -> Two {
    let values = |count: usize| (0..count).map(|at| (at as f32 * 0.7).sin()).collect::<Vec<_>>();
    let kernel = TensorData::new(values(3 * 5 * 16), [3, 5, 4, 4]);
    let scalars = TensorData::new(values(4), [4]);
    Two {
        kernel: Param::initialized(
            ParamId::from(1),
            Tensor::from_data(kernel, device).require_grad(),
        ),
        scalars: Param::initialized(
            ParamId::from(2),
            Tensor::from_data(scalars, device).require_grad(),
        ),
    }
}

/// Both tensors' values after some steps down the sum of fourth powers, the optimiser saved and loaded
/// on the way.
fn stepped(mut optimiser: ModuleOptimizer, mut module: Two) -> Vec<f32> {
    for step in 0..4 {
        let power =
            |tensor: Tensor<1>| (tensor.clone() * tensor.clone() * tensor.clone() * tensor).sum();
        let loss = power(module.kernel.val().flatten(0, 3)) + power(module.scalars.val());
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        module = optimiser.step(0.01, module, gradients);
        if step == 1 {
            let saved = optimiser.into_bytes().expect("saved");
            optimiser = optimiser.from_bytes(saved).expect("loaded");
        }
    }
    let values = |data: TensorData| data.try_to_vec::<f32>().expect("32-bit floats");
    let mut all = values(module.kernel.val().to_data());
    all.extend(values(module.scalars.val().to_data()));
    all
}

fn agree(device: &Device) {
    let burns = AdamConfig::new().with_beta_1(0.5).with_beta_2(0.9).with_epsilon(1e-8).init();
    let wanted = stepped(burns, two(&Device::flex().autodiff()));
    let found = stepped(adam(SETTINGS), two(device));
    for (wanted, found) in wanted.iter().zip(&found) {
        assert!((wanted - found).abs() < 1e-6, "{wanted} and {found}");
    }
    let begun = two(&Device::flex().autodiff()).kernel.val().to_data();
    let still = begun.try_to_vec::<f32>().expect("32-bit floats");
    assert!(still.iter().zip(&found).any(|(before, after)| (before - after).abs() > 1e-2));
}

#[test]
fn on_the_processor_it_computes_what_burns_does() {
    agree(&Device::flex().autodiff());
}

/// On whatever Vulkan device there is, Mesa's software one too.
#[cfg(feature = "wgpu")]
#[test]
fn wgpus_kernel_computes_what_burns_does() {
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice).autodiff();
    agree(&device);
    // In place, or recordings would not see it.
    #[cfg(not(feature = "autotune"))]
    {
        let module = two(&device);
        let held = module.kernel.val().inner();
        let loss = module.kernel.val().sum() + module.scalars.val().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        let values = |tensor: &Tensor<4>| tensor.to_data().try_to_vec::<f32>().expect("floats");
        let before = values(&held);
        let moved = adam(SETTINGS).step(0.01, module, gradients);
        assert_eq!(values(&held), values(&moved.kernel.val()));
        assert_ne!(values(&held), before);
    }
}
