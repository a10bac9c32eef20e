//! Losses beside mean absolute errors.

use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

/// Side of the windows that similarity is taken in, pixels.
const WINDOW: usize = 8;
/// Distance between windows: they overlap, and all of them would cost as much as the network.
const STRIDE: usize = 4;
/// Keep flat windows from dividing by nothing (Wang et al. 2004, for values from 0 to 1).
const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// One minus the structural similarity of two batches `[N, C, H, W]` of values in `0.0..=1.0`: the
/// mean over channels and windows of 8x8 pixels, four apart.
///
/// Mean absolute errors alone are least where a hole is blurred; this one falls when edges and
/// texture are of the right strength.
pub fn dissimilarity(first: Tensor<4>, second: Tensor<4>) -> Tensor<1> {
    let mean = |values: Tensor<4>| {
        let options = AvgPoolOptions::new([WINDOW, WINDOW]).with_stride([STRIDE, STRIDE]);
        avg_pool2d(values, options)
    };
    let (a, b) = (mean(first.clone()), mean(second.clone()));
    let (aa, bb, ab) = (a.clone() * a.clone(), b.clone() * b.clone(), a * b);
    let variances = mean(first.clone() * first.clone()) - aa.clone()
        + (mean(second.clone() * second.clone()) - bb.clone());
    let covariance = mean(first * second) - ab.clone();
    let similarity =
        (ab * 2.0 + C1) * (covariance * 2.0 + C2) / ((aa + bb + C1) * (variances + C2));
    similarity.mean().neg() + 1.0
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn picture(values: impl Fn(usize, usize) -> f32) -> Tensor<4> {
        let data: Vec<f32> = (0..256).map(|at| values(at % 16, at / 16)).collect();
        Tensor::from_data(TensorData::new(data, [1, 1, 16, 16]), &Device::flex())
    }

    fn loss(first: Tensor<4>, second: Tensor<4>) -> f32 {
        dissimilarity(first, second).into_scalar()
    }

    #[test]
    fn equal_is_nothing_and_blur_costs() {
        let stripes = picture(|x, _| (x % 2) as f32);
        assert!(loss(stripes.clone(), stripes.clone()).abs() < 1e-6);
        // Of stripes around their mean, covariance and one variance are 0, the other 1/4.
        let flat = loss(stripes.clone(), picture(|_, _| 0.5));
        assert!((flat - (1.0 - C2 / (0.25 + C2))).abs() < 1e-5, "{flat}");
        // Against their negative the covariance is -1/4.
        let negative = loss(stripes.clone(), picture(|x, _| 1.0 - (x % 2) as f32));
        assert!((negative - (1.0 - (C2 - 0.5) / (0.5 + C2))).abs() < 1e-5, "{negative}");
        assert!(loss(stripes.clone(), picture(|x, _| 0.25 + 0.5 * (x % 2) as f32)) < flat);
    }
}
