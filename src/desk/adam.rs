//! Adam (Kingma and Ba 2015) for Burn's modules, on GPUs in one kernel a tensor: the dozen of Burn's own
//! would take longer to start than to run.

use burn::optim::{AdamState, AdaptiveMomentumState, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use super::in_place::{self, AdamStep};

/// Its constants.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamSettings {
    /// Decay rates of the averages of gradients and of their squares.
    pub betas: (f32, f32),
    /// Added to the root of the second, which keeps steps finite.
    pub epsilon: f32,
}

/// With the state, and so the saved files, of Burn's.
#[derive(Clone)]
struct Adam {
    settings: AdamSettings,
}

/// An optimiser for a module.
pub(super) fn adam(settings: AdamSettings) -> ModuleOptimizer {
    ModuleOptimizer::from(Adam { settings })
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let AdamState { momentum } = state.unwrap_or_else(|| {
            let zeros = || tensor.zeros_like();
            AdamState::new(AdaptiveMomentumState::new(0, zeros(), zeros()))
        });
        let time = momentum.time + 1;
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(time as f64);
        let AdamSettings { betas, epsilon } = self.settings;
        let step = AdamStep {
            betas,
            rate: (rate / correction(betas.0)) as f32,
            root: correction(betas.1).sqrt() as f32,
            epsilon,
        };
        let averages = [momentum.moment_1, momentum.moment_2];
        let (tensor, [first, second]) = in_place::stepped(tensor, gradient, averages, step);
        (tensor, Some(AdamState::new(AdaptiveMomentumState::new(time, first, second))))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        AdamState::new(state.momentum.to_device(device))
    }
}

#[cfg(test)]
#[path = "adam_tests.rs"]
mod tests;
