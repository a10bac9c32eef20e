//! How near a picture is to the true one: PSNR, SSIM and mean l1, on packed RGB bytes.

use super::{KNOWN, Mask, PictureError};

/// SSIM's window: 11 taps of a Gaussian, as in Wang et al. 2004.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
/// Wang's stabilisers for a data range of 255.
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

fn check(first: &[u8], second: &[u8], width: usize, height: usize) -> Result<(), PictureError> {
    super::frame::check_side(width, height)?;
    let needed = width * height * 3;
    if first.len() == needed && second.len() == needed {
        return Ok(());
    }
    Err(PictureError::Compare { width, height, needed, first: first.len(), second: second.len() })
}

fn psnr_of(squares: u64, count: usize) -> f64 {
    if squares == 0 {
        return f64::INFINITY;
    }
    10.0 * (255.0 * 255.0 * count as f64 / squares as f64).log10()
}

fn square(a: u8, b: u8) -> u64 {
    u64::from(a.abs_diff(b)).pow(2)
}

/// Peak signal to noise in dB over the whole picture; infinite for equal pictures.
pub fn psnr(first: &[u8], second: &[u8], width: usize, height: usize) -> Result<f64, PictureError> {
    check(first, second, width, height)?;
    let squares = first.iter().zip(second).map(|(&a, &b)| square(a, b)).sum();
    Ok(psnr_of(squares, first.len()))
}

/// Peak signal to noise in dB over the hole alone; `None` when there is no hole.
pub fn psnr_in_hole(first: &[u8], second: &[u8], mask: &Mask) -> Result<Option<f64>, PictureError> {
    check(first, second, mask.width(), mask.height())?;
    let (mut squares, mut count) = (0, 0);
    let pixels = first.as_chunks::<3>().0.iter().zip(second.as_chunks::<3>().0);
    for ((a, b), _) in pixels.zip(mask.data()).filter(|(_, hole)| **hole != KNOWN) {
        squares += a.iter().zip(b).map(|(&a, &b)| square(a, b)).sum::<u64>();
        count += 3;
    }
    Ok((count > 0).then(|| psnr_of(squares, count)))
}

/// Mean absolute difference, in [0, 1].
pub fn mean_l1(
    first: &[u8],
    second: &[u8],
    width: usize,
    height: usize,
) -> Result<f64, PictureError> {
    check(first, second, width, height)?;
    let sum: u64 = first.iter().zip(second).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    Ok(sum as f64 / (255.0 * first.len() as f64))
}

/// Structural similarity, the mean over the three channels.
///
/// Agrees with scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, channel_axis=2, data_range=255)`: the mean is taken where the
/// 11x11 window lies inside the picture. A picture smaller than the window is an error.
pub fn ssim(first: &[u8], second: &[u8], width: usize, height: usize) -> Result<f64, PictureError> {
    check(first, second, width, height)?;
    if width < WINDOW || height < WINDOW {
        return Err(PictureError::TooSmall { width, height });
    }
    let mut window = [0.0; WINDOW];
    for (at, weight) in window.iter_mut().enumerate() {
        let from_centre = at as f64 - (WINDOW / 2) as f64;
        *weight = (-from_centre * from_centre / (2.0 * SIGMA * SIGMA)).exp();
    }
    let sum: f64 = window.iter().sum();
    window.iter_mut().for_each(|weight| *weight /= sum);

    let across = width - WINDOW + 1;
    let down = height - WINDOW + 1;
    // Per output column: the moments x, y, xx, yy, xy of each of the last 11 rows.
    let mut rows = vec![[0.0f64; 5]; across * WINDOW];
    let mut total = 0.0;
    for channel in 0..3 {
        for y in 0..height {
            let line = |picture: &[u8]| -> Vec<f64> {
                let row = &picture[y * width * 3..][..width * 3];
                row.iter().skip(channel).step_by(3).map(|&byte| f64::from(byte)).collect()
            };
            let (a, b) = (line(first), line(second));
            let slot = &mut rows[y % WINDOW * across..][..across];
            for (x, moments) in slot.iter_mut().enumerate() {
                *moments = [0.0; 5];
                for ((&weight, &a), &b) in window.iter().zip(&a[x..]).zip(&b[x..]) {
                    let values = [a, b, a * a, b * b, a * b];
                    moments.iter_mut().zip(values).for_each(|(m, value)| *m += weight * value);
                }
            }
            if y + 1 < WINDOW {
                continue;
            }
            for x in 0..across {
                let mut m = [0.0; 5];
                for (tap, &weight) in window.iter().enumerate() {
                    let row = &rows[(y + 1 + tap) % WINDOW * across + x];
                    m.iter_mut().zip(row).for_each(|(m, value)| *m += weight * value);
                }
                let [ux, uy, uxx, uyy, uxy] = m;
                let (vx, vy, vxy) = (uxx - ux * ux, uyy - uy * uy, uxy - ux * uy);
                let top = (2.0 * ux * uy + C1) * (2.0 * vxy + C2);
                let bottom = (ux * ux + uy * uy + C1) * (vx + vy + C2);
                total += top / bottom;
            }
        }
    }
    Ok(total / (3 * across * down) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against scikit-image 0.26, which computes the window in another order.
    const SAME: f64 = 1e-9;

    const WIDTH: usize = 31;
    const HEIGHT: usize = 23;

    fn noise() -> Vec<u8> {
        let mut state = 7u32;
        (0..WIDTH * HEIGHT * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    fn smooth() -> Vec<u8> {
        let pixel = |at: usize| {
            let (x, y) = (at % WIDTH, at / WIDTH);
            [(x * 5 + y * 2) as u8, (x * x / 7 + y) as u8, (y * 6) as u8]
        };
        (0..WIDTH * HEIGHT).flat_map(pixel).collect()
    }

    #[test]
    fn the_same_numbers_as_scikit_image() {
        let (a, n) = (smooth(), noise());
        let b: Vec<u8> = a
            .iter()
            .zip(&n)
            .map(|(&a, &n)| (i32::from(a) + i32::from(n) / 8 - 16).clamp(0, 255) as u8)
            .collect();
        for (second, ssim_true, psnr_true, l1_true) in [
            (&b, 0.6858527289795143, 28.993531789345404, 0.030542034485603498),
            (&n, 0.0074604030098348985, 8.061397133220472, 0.32024310425432445),
        ] {
            let found = ssim(&a, second, WIDTH, HEIGHT).unwrap();
            assert!((found - ssim_true).abs() < SAME, "{found} {ssim_true}");
            let found = psnr(&a, second, WIDTH, HEIGHT).unwrap();
            assert!((found - psnr_true).abs() < SAME, "{found} {psnr_true}");
            let found = mean_l1(&a, second, WIDTH, HEIGHT).unwrap();
            assert!((found - l1_true).abs() < SAME, "{found} {l1_true}");
        }
    }

    #[test]
    fn equal_pictures_are_perfect() {
        let a = smooth();
        assert!((ssim(&a, &a, WIDTH, HEIGHT).unwrap() - 1.0).abs() < SAME);
        assert_eq!(psnr(&a, &a, WIDTH, HEIGHT).unwrap(), f64::INFINITY);
        assert_eq!(mean_l1(&a, &a, WIDTH, HEIGHT).unwrap(), 0.0);
    }

    #[test]
    fn the_hole_alone_counts_in_the_hole() {
        let first = vec![0; 2 * 3];
        let second = [0, 0, 0, 255, 255, 255];
        let mask = |grey: &[u8]| Mask::from_grey(2, 1, grey).unwrap();
        assert_eq!(psnr_in_hole(&first, &second, &mask(&[0, 255])).unwrap(), Some(0.0));
        assert_eq!(psnr_in_hole(&first, &second, &mask(&[255, 0])).unwrap(), Some(f64::INFINITY));
        assert_eq!(psnr_in_hole(&first, &second, &mask(&[0, 0])).unwrap(), None);
    }

    #[test]
    fn sizes_must_agree() {
        assert!(psnr(&[0; 12], &[0; 9], 2, 2).is_err());
        assert!(ssim(&[0; 12], &[0; 12], 2, 2).is_err());
    }
}
