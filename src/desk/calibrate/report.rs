//! A calibration's receipt as one HTML page, with what no receipt can show: histograms and
//! pictures.

use super::{Calibrated, Compared, Histogram};
use crate::desk::html;
use crate::desk::sheet::{GAP, HOLE_COLOUR, contact_sheet, painted};
use crate::picture::{PictureError, RgbPicture};

/// Held-back pictures shown.
const SHOWN: usize = 8;
/// Differences are shown so many times as large.
const GAIN: i32 = 32;
/// Size of histograms, pixels.
const HISTOGRAM: (usize, usize) = (256, 48);
/// Width of the longest bar of signal-to-noise ratios, pixels.
const BAR: f64 = 120.0;

impl Calibrated {
    /// The page: what was lost, every tensor with the worst one marked, and held-back pictures
    /// side by side.
    ///
    /// # Errors
    /// [`PictureError`] where pictures do not fit together, which is a bug.
    pub fn to_html(&self) -> Result<String, PictureError> {
        let figure = |name: &str| self.receipt["held_back"][name].as_f64().unwrap_or(f64::NAN);
        let mut text = format!(
            "<p>{} pictures gave the ranges. On {} others the int8 network differs from the float \
             network by {:.1} dB; masks: {}.</p>\
             <table><tr><th></th><th>float</th><th>int8</th><th>lost</th></tr>\
             <tr><td>PSNR, dB</td><td>{:.2}</td><td>{:.2}</td><td>{:.3}</td></tr>\
             <tr><td>SSIM</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td></tr></table>\n",
            self.names("pictures").count(),
            self.receipt["held_back"]["count"],
            figure("psnr_to_float"),
            html::escape(self.receipt["masks"].as_str().unwrap_or_default()),
            figure("psnr_float"),
            figure("psnr_int8"),
            figure("psnr_lost"),
            figure("ssim_float"),
            figure("ssim_int8"),
            figure("ssim_lost"),
        );
        text += &self.layers();
        text += &format!(
            "<h2>Pictures held back</h2><p>From left to right: input, float, int8, and their \
             difference {GAIN} times as large.</p>\n"
        );
        for compared in self.compared.iter().take(SHOWN) {
            text += &figure_of(compared)?;
        }
        for (title, key) in
            [("Pictures used", "pictures"), ("Pictures held back", "held_back_pictures")]
        {
            text += &format!("<details><summary>{title}, with their BLAKE3</summary><ul>");
            for (name, hash) in self.names(key) {
                text += &format!("<li>{}<br><code>{hash}</code></li>", html::escape(name));
            }
            text += "</ul></details>\n";
        }
        Ok(html::page("Calibration report", &text))
    }

    /// Names and hashes of a list of pictures in the receipt.
    fn names<'a>(&'a self, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let listed = self.receipt[key].as_array().into_iter().flatten();
        listed.filter_map(|entry| Some((entry["name"].as_str()?, entry["blake3"].as_str()?)))
    }

    fn layers(&self) -> String {
        let layers: Vec<_> = self.receipt["layers"].as_array().into_iter().flatten().collect();
        let ratio = |index: usize| layers[index]["snr"].as_f64().unwrap_or(f64::NAN);
        let order = |&a: &usize, &b: &usize| ratio(a).total_cmp(&ratio(b));
        let worst = (0..layers.len()).min_by(order);
        let best = (0..layers.len()).max_by(order).map_or(1.0, ratio);
        let mut text = String::from(
            "<h2>Tensors</h2><p>Signal-to-noise ratio of the integer network's features to the \
             float network's; the worst is marked. Histograms show the bytes that values become, \
             0 to 255, heights as logarithms; red at the ends is what is clipped. Seen is the least and \
             the greatest value on the pictures used, the grid is what bytes reach: wider where \
             other pictures go further, narrower where that was learned to cost less.</p>\
             <table><tr><th>tensor</th><th>ratio, dB</th><th></th><th>seen</th>\
             <th>grid</th><th>clipped</th><th>bytes</th></tr>\n",
        );
        for (index, (layer, histogram)) in layers.iter().zip(&self.histograms).enumerate() {
            let (class, note) = match worst == Some(index) {
                true => (" class=\"worst\"", " (worst)"),
                false => ("", ""),
            };
            let number = |name: &str| layer[name].as_f64().unwrap_or(f64::NAN);
            text += &format!(
                "<tr{class}><td>{}{note}</td><td>{:.1}</td><td class=\"text\">{}</td>\
                 <td>{:.2} to {:.2}</td><td>{:.2} to {:.2}</td><td>{:.3} %</td>\
                 <td>{}</td></tr>\n",
                html::escape(layer["name"].as_str().unwrap_or_default()),
                ratio(index),
                bar(ratio(index) / best),
                number("seen_low"),
                number("seen_high"),
                number("low"),
                number("high"),
                100.0 * histogram.clipped(),
                svg(histogram),
            );
        }
        text + "</table>\n"
    }
}

fn bar(share: f64) -> String {
    let width = BAR * share.clamp(0.0, 1.0);
    format!(
        "<svg width=\"{BAR}\" height=\"14\"><rect width=\"{width:.0}\" height=\"14\" \
         fill=\"#48c\"/></svg>"
    )
}

fn svg(histogram: &Histogram) -> String {
    let bars: Vec<(u64, &str)> = std::iter::once((histogram.below, "#d33"))
        .chain(histogram.bins.iter().map(|&count| (count, "#48c")))
        .chain([(histogram.above, "#d33")])
        .collect();
    let (width, height) = HISTOGRAM;
    let top = bars.iter().map(|(count, _)| *count).max().unwrap_or(0);
    let tallest = (top as f64).ln_1p().max(f64::MIN_POSITIVE);
    let step = width as f64 / bars.len() as f64;
    let mut text = format!("<svg width=\"{width}\" height=\"{height}\">");
    for (index, (count, colour)) in bars.into_iter().enumerate().filter(|(_, bar)| bar.0 > 0) {
        let bar_height = height as f64 * (count as f64).ln_1p() / tallest;
        text += &format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{step:.1}\" height=\"{bar_height:.1}\" \
             fill=\"{colour}\"/>",
            step * index as f64,
            height as f64 - bar_height
        );
    }
    text + "</svg>"
}

fn figure_of(compared: &Compared) -> Result<String, PictureError> {
    let Compared { name, picture, mask, float, int8, psnr } = compared;
    let mut difference = int8.clone();
    for (level, &float) in difference.data.iter_mut().zip(&float.data) {
        *level = (GAIN * i32::from(level.abs_diff(float))).min(255) as u8;
    }
    let input = painted(picture, mask, HOLE_COLOUR)?;
    let row = vec![input, float.clone(), int8.clone(), difference];
    let sheet: RgbPicture = contact_sheet(&[row], GAP)?;
    let name = html::escape(name);
    Ok(format!(
        "<figure>{}<figcaption>{name}: {psnr:.1} dB</figcaption></figure>\n",
        html::picture("input, float, int8, difference", &sheet)
    ))
}
