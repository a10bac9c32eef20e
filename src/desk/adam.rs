//! Adam (Kingma and Ba 2015) for Burn's modules, on GPUs in one kernel a tensor: the dozen of Burn's own
//! would take longer to start than to run.

use burn::optim::{AdamState, AdaptiveMomentumState, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use super::in_place;

/// Its constants.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamSettings {
    /// Decay rates of the averages of gradients and of their squares.
    pub betas: (f32, f32),
    /// Added to the root of the second, which keeps steps finite.
    pub epsilon: f32,
}

/// What one step does to each value.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamStep {
    pub settings: AdamSettings,
    /// Learning rate over the first average's correction.
    pub rate: f32,
    /// Square root of the second average's correction.
    pub root: f32,
}

impl AdamSettings {
    /// Step `number`, of which the first is 1.
    pub fn step(self, learning_rate: f64, number: u64) -> AdamStep {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(number as f64);
        let (first, second) = self.betas;
        AdamStep {
            settings: self,
            rate: (learning_rate / correction(first)) as f32,
            root: correction(second).sqrt() as f32,
        }
    }
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
        let step = self.settings.step(rate, time as u64);
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
