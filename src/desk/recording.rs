//! A pass over a batch and back, recorded once and then replayed by the GPU alone: to start its two
//! thousand small kernels one by one would take longer than to run them.
//!
//! What is recorded are kernels and the memory they read and write. So pictures, masks and weights
//! change in place ([`super::in_place`]), and nothing that differs from step to step may be computed on
//! the way: the discriminator, which draws mixtures and moves first, is not recorded.
//!
//! Where a GPU or its driver cannot record, the pass is made anew each time.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Graph, Tensor, capture};

use super::in_place::overwritten;
use super::objective::Awaited;

/// What a pass finds.
pub(super) struct Found {
    /// The network's pictures, `[N, 3, H, W]`.
    pub output: Tensor<4>,
    pub losses: Awaited,
    pub gradients: GradientsParams,
    /// The square of the gradients' length.
    pub squared: Option<Tensor<1>>,
}

/// The recorded pass, and where it looks for its batch.
pub(super) struct Recording {
    pictures: Tensor<4>,
    masks: Tensor<4>,
    graph: Graph<Found, Box<dyn FnMut() -> Found>>,
}

impl Recording {
    /// Records `pass`, which is called some times, for pictures and masks of these shapes. What else
    /// it reads must not move, and stay as long as the recording does: it holds it.
    pub fn new(
        device: &Device,
        pictures: Tensor<4>,
        masks: Tensor<4>,
        pass: impl Fn(Tensor<4>, Tensor<4>) -> Found + 'static,
    ) -> Self {
        let batch = (pictures.clone(), masks.clone());
        let pass: Box<dyn FnMut() -> Found> =
            Box::new(move || pass(batch.0.clone(), batch.1.clone()));
        let graph = capture(&device.clone().inner(), pass);
        log::debug!(
            "a step is {}",
            if graph.is_hardware() { "recorded" } else { "made anew each time" }
        );
        Self { pictures, masks, graph }
    }

    /// The pass over this batch.
    pub fn replay(&mut self, pictures: Tensor<4>, masks: Tensor<4>) -> &Found {
        for (old, new) in [(&self.pictures, pictures), (&self.masks, masks)] {
            overwritten(old.clone().inner(), new.inner());
        }
        // SAFETY:
        // - all that recorded kernels read and write stays: the batch, weights and what the pass found
        //   are held here, and the runtime keeps the memory of everything between for the graph;
        // - nobody else touches it meanwhile, and batches are written in the order of the replays: all
        //   the device's work comes from the thread that trains, which `dyn FnMut` holds this to.
        #[allow(unsafe_code)]
        unsafe {
            self.graph.replay()
        }
    }
}
