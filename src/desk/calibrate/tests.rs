//! Real calibrations of a narrow network, and the parts by hand.

use std::fs;

use super::*;
use crate::picture::write_png;

/// Steps of learning where it does not matter how many.
const STEPS: u64 = 4;

/// Pictures with gradients, edges and some noise.
fn pictures(folder: &Path, count: usize) {
    fs::create_dir_all(folder).expect("a folder");
    for picture in 0..count {
        let pixel = |index: usize| {
            let (x, y) = (index % 160, index / 160);
            let stripe = if (x / 20 + picture).is_multiple_of(2) { 60 } else { 0 };
            let noise = (x * 7919 + y * 104_729 + picture) % 23;
            [(x + stripe) as u8, (y + noise) as u8, (80 + stripe + noise) as u8]
        };
        let data = (0..160 * 160).flat_map(pixel).collect();
        let drawn = RgbPicture::new(160, 160, data).expect("a picture");
        write_png(&folder.join(format!("{picture}.png")), &drawn).expect("written");
    }
}

/// The authors' network in the narrowest width; fresh weights would make hardly any signal.
fn narrow() -> Weights {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity");
    crate::desk::import(&data.join("official_width_8.pth")).expect("weights")
}

fn run(weights: &Weights, images: &Path) -> Result<Calibrated, DeskError> {
    calibrate(weights, images, STEPS, &mut |_, _| ())
}

#[test]
fn a_long_receipt_is_brief_in_the_model_file() {
    let list = |count: usize| json!((0..count).map(|at| json!({ "name": at })).collect::<Vec<_>>());
    let receipt = json!({
        "size": SIDE, "pictures": list(MOST_LISTED + 1), "held_back_pictures": list(MOST_LISTED),
    });
    let brief = brief(&receipt);
    assert_eq!(brief["pictures"]["count"], MOST_LISTED + 1);
    assert_eq!(brief["pictures"]["blake3"].as_str().map(str::len), Some(64));
    assert_eq!(brief["held_back_pictures"], receipt["held_back_pictures"]);
    assert_eq!(brief["size"], receipt["size"]);
}

#[test]
fn a_calibration_is_repeatable_close_to_float_and_tells_what_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    pictures(&images, 8);
    fs::write(images.join("torn.png"), b"no picture").expect("written");
    let weights = narrow();
    let mut told = Vec::new();
    let first = calibrate(&weights, &images, STEPS, &mut |done, all| told.push((done, all)));
    let first = first.expect("calibrated");
    assert_eq!(told.last().map(|&(done, all)| done == all), Some(true));
    let paths = ["first.lbam", "second.lbam"].map(|name| folder.path().join(name));
    first.write(&paths[0]).expect("written");
    run(&weights, &images).expect("calibrated").write(&paths[1]).expect("written");
    let [first_bytes, second_bytes] = paths.each_ref().map(|path| fs::read(path).expect("there"));
    assert!(first_bytes == second_bytes, "two runs over the same pictures differ");

    let receipt = &first.receipt;
    let name_of = |entry: &Value| entry["name"].as_str().unwrap_or_default().to_owned();
    let listed = |key: &str| -> Vec<String> {
        receipt[key].as_array().expect("a list").iter().map(name_of).collect()
    };
    assert_eq!(listed("pictures"), ["0.png", "1.png", "2.png", "4.png", "5.png", "6.png"]);
    assert_eq!(listed("held_back_pictures"), ["3.png", "7.png"]);
    let hash = blake3::hash(&fs::read(images.join("0.png")).expect("there")).to_hex();
    assert_eq!(receipt["pictures"][0]["blake3"], hash.as_str());
    assert_eq!(receipt["learning_steps"], STEPS);
    // Eight bits over twice the range of random weights' features.
    let layers = receipt["layers"].as_array().expect("a list");
    assert_eq!(layers.len(), 2 * ENCODER_LAYERS - 1);
    for layer in layers {
        assert!(layer["snr"].as_f64().is_some_and(|snr| snr > 25.0), "{layer}");
    }
    let to_float = receipt["held_back"]["psnr_to_float"].as_f64();
    // What random weights paint is noise: trained ones come 8 dB closer.
    assert!(to_float.is_some_and(|psnr| psnr > 40.0), "{to_float:?} dB to the float network");
    let model = Model::open(&paths[0]).expect("a model");
    assert_eq!(model.network(), weights.network());

    let page = first.to_html().expect("a page");
    assert_eq!(page.matches("(worst)").count(), 1);
    assert_eq!(page.matches("<figcaption>").count(), 2);
    for text in ["3.png: ", "7.png: ", "encoder 1", "decoder 6", hash.as_str()] {
        assert!(page.contains(text), "\"{text}\" is not on the page");
    }
    // Not just anywhere: a picture's base64 may hold these letters.
    assert!(!page.contains(">NaN") && !page.contains(" NaN"), "a figure is missing");
}

#[test]
fn learning_brings_integers_closer_and_leaves_deep_tensors_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), 8);
    let weights = narrow();
    let receipt = |steps| {
        calibrate(&weights, folder.path(), steps, &mut |_, _| ()).expect("calibrated").receipt
    };
    let (start, learned) = (receipt(0), receipt(40));
    let to_float = |receipt: &Value| receipt["held_back"]["psnr_to_float"].as_f64();
    let gain = to_float(&learned).expect("a figure") - to_float(&start).expect("a figure");
    assert!(gain > 1.0, "{gain} dB closer to the float network");
    let range = |receipt: &Value, tensor: usize| {
        let layer = &receipt["layers"][tensor];
        ["low", "high"].map(|end| layer[end].as_f64().expect("an end"))
    };
    for tensor in 0..2 * ENCODER_LAYERS - 1 {
        let same = range(&start, tensor) == range(&learned, tensor);
        let deep = tensor % ENCODER_LAYERS >= 3;
        assert_eq!(same, deep, "tensor {tensor}");
    }
}

#[test]
fn too_few_readable_pictures_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = narrow();
    let refusal = |images: &Path| run(&weights, images).err().expect("refused").to_string();
    assert!(refusal(&folder.path().join("absent")).contains("absent"));
    let images = folder.path().join("images");
    pictures(&images, 3);
    for index in 0..5 {
        fs::write(images.join(format!("torn{index}.png")), b"no picture").expect("written");
    }
    let said = refusal(&images);
    assert!(said.contains("3 readable pictures") && said.contains("4 are needed"), "{said}");
}

#[test]
fn histograms_count_every_value_once() {
    let sample = vec![-1.0, 0.0, 0.51, 1.0, 1.5, 9.0];
    let channels = [Channel { low: -1.0, high: 9.0, sample }];
    let grid = Grid::new(&[(0.0, 1.0)], 0.0);
    let histogram = Histogram::new(&channels, &grid);
    assert_eq!((histogram.below, histogram.above), (1, 2));
    assert_eq!((histogram.bins[0], histogram.bins[32], histogram.bins[63]), (1, 1, 1));
    assert!((histogram.clipped() - 0.5).abs() < 1e-12);
}
