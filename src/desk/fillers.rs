//! What `eval` compares: models of every kind of file, and the baselines, as fillers.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, TensorData};
use tract_onnx::prelude::*;

use super::DeskError;
use super::evaluate::{FillError, Filler};
use super::exemplar::exemplar;
use super::model::Lbam;
use super::navier_stokes::navier_stokes;
use super::patchmatch::patchmatch;
use super::sheet;
use super::telea::{mean_colour, telea};
use crate::file::{Model, Precision, Weights, write_model};
use crate::net::{Network, Variant};
use crate::picture::{Finish, Mask, RgbPicture, Search, plan_whole};
use crate::runtime::Session;

/// Names of the baselines.
pub const BASELINES: [&str; 5] = ["telea", "navier-stokes", "patchmatch", "exemplar", "mean"];
/// The quick ones among them, which are compared unless others are asked for.
pub const USUAL_BASELINES: [&str; 2] = ["telea", "mean"];

/// The baseline of this name (one of [`BASELINES`]).
pub fn baseline(name: &str) -> Option<Box<Filler<'static>>> {
    match name {
        "telea" => Some(Box::new(|picture, mask| Ok(telea(picture, mask)?))),
        "navier-stokes" => Some(Box::new(|picture, mask| Ok(navier_stokes(picture, mask)?))),
        "patchmatch" => Some(Box::new(|picture, mask| Ok(patchmatch(picture, mask)?))),
        "exemplar" => Some(Box::new(|picture, mask| Ok(exemplar(picture, mask)?))),
        "mean" => Some(Box::new(|picture, mask| Ok(mean_colour(picture, mask)?))),
        _ => None,
    }
}

/// A model as a filler of `size` x `size` pictures, by its file's extension: `.lbam` and
/// `.safetensors` through the edge runtime, `.onnx` through tract's importer. Ablations, which the
/// edge runtime does not know, run in Burn.
///
/// # Errors
/// [`DeskError`] where the file cannot be read or run.
pub fn model(path: &Path, size: usize) -> Result<Box<Filler<'static>>, DeskError> {
    Network::check_size(size, size).map_err(crate::file::FileError::from)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => onnx(path, size),
        Some("safetensors") => {
            let weights = Weights::read(path)?;
            if weights.variant() != Variant::PAPER {
                return Ok(ablation(&weights));
            }
            let folder = tempfile::tempdir().map_err(DeskError::io(&std::env::temp_dir()))?;
            let file = folder.path().join("model.lbam");
            write_model(&weights, Precision::F32, &file)?;
            session(&file, size)
        }
        _ => session(path, size),
    }
}

/// A filler whose fills get detail as on the device ([`Finish`]): of so many frames
/// that show one picture, the last.
pub fn with_detail(
    mut filler: Box<Filler<'static>>,
    search: Search,
    frames: usize,
) -> Box<Filler<'static>> {
    Box::new(move |picture: &RgbPicture, mask: &Mask| {
        let filled = filler(picture, mask)?;
        let region = plan_whole(mask)?.ok_or("too large a picture for detail")?;
        let mut finish = Finish::new(&region, search);
        let mut shown = filled.clone();
        for _ in 0..frames {
            shown.data.copy_from_slice(&filled.data);
            finish.add(&picture.data, &mut shown.data);
        }
        Ok(shown)
    })
}

fn session(path: &Path, size: usize) -> Result<Box<Filler<'static>>, DeskError> {
    let model = Arc::new(Model::open(path)?);
    let failed = |error| DeskError::run(path, error);
    let mut session = Session::new(&model, size, size).map_err(failed)?;
    Ok(Box::new(move |picture: &RgbPicture, mask: &Mask| {
        session.set_mask(mask.data())?;
        let mut output = vec![0; picture.data.len()];
        session.run(&picture.data, &mut output)?;
        Ok(RgbPicture::new(picture.width, picture.height, output)?)
    }))
}

fn ablation(weights: &Weights) -> Box<Filler<'static>> {
    let device = Device::flex();
    let model = Lbam::from_weights(weights, &device);
    Box::new(move |picture: &RgbPicture, mask: &Mask| {
        let (width, height) = (picture.width, picture.height);
        let tensor = |values: Vec<f32>, channels: usize| {
            let data = TensorData::new(values, [1, channels, height, width]);
            burn::tensor::Tensor::<4>::from_data(data, &device)
        };
        let (planes, known) = (sheet::to_planes(picture), sheet::known_plane(mask));
        let output = model.forward(tensor(planes, 3), tensor(known, 1));
        let values = output.to_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
        Ok(sheet::from_planes(&values, width, height)?)
    })
}

fn onnx(path: &Path, size: usize) -> Result<Box<Filler<'static>>, DeskError> {
    let wrong = |error| DeskError::checkpoint(path, format!("{error:#}; export it again"));
    let model = tract_onnx::onnx().model_for_path(path).map_err(wrong)?;
    let (inputs, outputs) = (model.inputs.len(), model.outputs.len());
    if inputs != 2 || outputs == 0 {
        let reason = format!(
            "it has {inputs} inputs and {outputs} outputs; a picture and its mask are wanted, and \
             first of the outputs the filled picture, as export --format onnx writes them"
        );
        return Err(DeskError::checkpoint(path, reason));
    }
    let model = model
        .with_input_fact(0, f32::fact([1, 3, size, size]).into())
        .and_then(|model| model.with_input_fact(1, f32::fact([1, 1, size, size]).into()))
        .and_then(|model| model.into_optimized()?.into_runnable())
        .map_err(wrong)?;
    Ok(Box::new(move |picture: &RgbPicture, mask: &Mask| {
        let (planes, known) = (sheet::to_planes(picture), sheet::known_plane(mask));
        let inputs = tvec!(
            Tensor::from_shape(&[1, 3, size, size], &planes)?.into(),
            Tensor::from_shape(&[1, 1, size, size], &known)?.into()
        );
        let outputs = model.run(inputs).map_err(|error| FillError::from(format!("{error:#}")))?;
        let filled = outputs[0].try_as_plain_ram()?;
        Ok(sheet::from_planes(filled.as_slice::<f32>()?, size, size)?)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{calibrate, import, write_onnx};
    use crate::picture::{ColourRange, Frame, PixelFormat};
    use crate::service::{self, Fill};

    /// Levels by which two pictures of the same network differ, where sums that were made in
    /// another order round to another side.
    const LEVELS: u8 = 1;

    #[test]
    fn ablations_are_judged_and_go_onto_no_device() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let weights = import(&data.join("parity/official_width_8.pth")).expect("the checkpoint");
        weights.write(&path).expect("written");
        let side = 128;
        let bytes = (0..3 * side * side).map(|at| (at * 7 % 251) as u8).collect();
        let picture = RgbPicture::new(side, side, bytes).expect("a picture");
        let grey: Vec<u8> =
            (0..side * side).map(|at| if (3000..6000).contains(&at) { 255 } else { 0 }).collect();
        let mask = Mask::from_grey(side, side, &grey).expect("a mask");
        let filled = |filler: &mut Filler| {
            let mut filled = filler(&picture, &mask).expect("filled");
            sheet::keep_known(&mut filled, &picture, &mask);
            filled
        };
        // The way of ablations, taken by the paper's network, leads where its own way does.
        let by_session = filled(&mut *model(&path, side).expect("a filler"));
        let by_burn = filled(&mut *ablation(&weights));
        let worst = by_session.data.iter().zip(&by_burn.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.is_some_and(|worst| worst <= LEVELS), "{worst:?}");

        let variant = Variant::named("gaussian", "forward").expect("a variant");
        let weights = weights.with_variant(variant);
        weights.write(&path).expect("written");
        let by_variant = filled(&mut *model(&path, side).expect("a filler"));
        assert_ne!(by_variant.data, by_burn.data);
        let onnx = folder.path().join("model.onnx");
        let refusals = [
            write_onnx(&weights, &onnx).expect_err("an ablation"),
            calibrate(&weights, folder.path(), 0, &mut |_, _| {}).map(|_| ()).expect_err("one"),
        ];
        for error in refusals {
            assert!(error.to_string().contains("only the paper's network"), "{error}");
        }
        assert!(!onnx.exists());
    }

    #[test]
    fn detail_is_what_the_device_gives() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.lbam");
        let weights = import(&data.join("parity/official_width_8.pth")).expect("the checkpoint");
        write_model(&weights, Precision::F32, &path).expect("written");
        let side = 128;
        let level =
            |at: usize| ((at / 3 % side / 9 * 40 + at / 3 / side * 3 + at * 7 % 13) % 250) as u8;
        let bytes = (0..3 * side * side).map(level).collect();
        let picture = RgbPicture::new(side, side, bytes).expect("a picture");
        let is_hole =
            |at: usize| (40..90).contains(&(at % side)) && (30..70).contains(&(at / side));
        let grey: Vec<u8> = (0..side * side).map(|at| if is_hole(at) { 255 } else { 0 }).collect();
        let mask = Mask::from_grey(side, side, &grey).expect("a mask");
        let model_of_device = || Model::open(&path).expect("a model");
        for (mut device, search, frames) in [
            (service::Filler::for_pictures(model_of_device()), Search::Thorough, 1),
            (service::Filler::for_frames(model_of_device()), Search::Live, 3),
        ] {
            device = device.detailed(true);
            device.set_mask(&mask).expect("set");
            let mut frame = None;
            for _ in 0..frames {
                let (format, pixels) = (PixelFormat::Rgb8, picture.data.clone());
                let next = Frame::new(side, side, format, ColourRange::Full, pixels);
                device.fill(frame.insert(next.expect("a frame"))).expect("filled");
            }
            let mut filler = with_detail(model(&path, side).expect("a filler"), search, frames);
            let mut filled = filler(&picture, &mask).expect("filled");
            sheet::keep_known(&mut filled, &picture, &mask);
            assert!(frame.expect("a frame").data() == filled.data, "{search:?} differs");
            let mut plain = model(&path, side).expect("a filler")(&picture, &mask).expect("filled");
            sheet::keep_known(&mut plain, &picture, &mask);
            assert_ne!(plain.data, filled.data);
        }
    }
}
