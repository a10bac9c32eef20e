//! Round trips, and one test for each lie a header can tell.

use std::collections::BTreeMap;
use std::path::PathBuf;

use half::f16;
use serde_json::{Value, json};

use super::*;
use crate::net::{MapActivation, MaskRule, Network, Variant};

/// Weights of a narrow network; a width that is no power of two makes tensors need padding.
fn weights() -> Weights {
    let network = Network::new(3).expect("a supported width");
    let mut next = 0_u32;
    let tensors = network.parameters().into_iter().map(|parameter| {
        let values = (0..parameter.shape.iter().product::<usize>())
            .map(|_| {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                next as f32 / u32::MAX as f32 - 0.5
            })
            .collect();
        (parameter.name, (parameter.shape, values))
    });
    let provenance = BTreeMap::from([("steps".to_owned(), "12".to_owned())]);
    Weights::from_tensors(tensors.collect(), provenance).expect("whole weights")
}

struct Case {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Case {
    fn new(precision: Precision) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.lbam");
        write_model(&weights(), precision, &path).expect("written");
        Self { _folder: folder, path }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("readable")
    }

    fn put(&self, bytes: &[u8]) {
        std::fs::write(&self.path, bytes).expect("writable");
    }

    /// Rewrites the header, keeping the data and its alignment.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let bytes = self.bytes();
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        change(&mut header);
        let mut json = serde_json::to_vec(&header).expect("JSON");
        json.resize((json.len() + 8).next_multiple_of(ALIGNMENT) - 8, b' ');
        let mut new = (json.len() as u64).to_le_bytes().to_vec();
        new.extend(json);
        new.extend(&bytes[8 + length..]);
        self.put(&new);
    }

    /// The error of opening it, which must name the file.
    fn refusal(&self) -> String {
        let error = Model::open(&self.path).expect_err("must be refused").to_string();
        assert!(error.contains("model.lbam"), "{error} does not name the file");
        error
    }
}

const KERNEL: &str = "ec2.conv.conv.weight";

#[test]
fn both_precisions_come_back() {
    let weights = weights();
    for precision in [Precision::F32, Precision::F16] {
        let case = Case::new(precision);
        let model = Model::open(&case.path).expect("a good file");
        assert_eq!((model.network(), model.precision()), (weights.network(), precision));
        assert_eq!(model.provenance()["steps"], "12");
        let rounded: Vec<f32> = weights
            .values(KERNEL)
            .iter()
            .map(|&value| match precision {
                Precision::F16 => f16::from_f32(value).to_f32(),
                _ => value,
            })
            .collect();
        assert_eq!(model.values(KERNEL).widen(), rounded);
        let prefix = "reverseConv3.activationFuncG_A";
        assert_eq!(model.attention(prefix), weights.attention(prefix));
    }
}

#[test]
fn training_weights_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    weights().write(&path).expect("written");
    assert_eq!(Weights::read(&path).expect("read"), weights());
}

#[test]
fn variants_come_back_and_go_onto_no_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    for (attention, masks) in
        MapActivation::ALL.into_iter().flat_map(|one| MaskRule::ALL.map(|rule| (one, rule)))
    {
        let Ok(variant) = Variant::new(attention, masks) else { continue };
        let weights = weights().with_variant(variant);
        weights.write(&path).expect("written");
        assert_eq!(Weights::read(&path).expect("read"), weights);
        let bytes = std::fs::read(&path).expect("read");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        let stated = header["__metadata__"]["attention"].as_str();
        let model = folder.path().join("model.lbam");
        if variant == Variant::PAPER {
            // As it was before there were variants.
            assert_eq!((stated, header["__metadata__"]["attention_masks"].as_str()), (None, None));
            assert_eq!(Weights::read_for_devices(&path).expect("the paper's"), weights);
            continue;
        }
        assert_eq!(stated, Some(attention.name()));
        let error = write_model(&weights, Precision::F32, &model).expect_err("an ablation");
        assert!(matches!(error, FileError::Variant(found) if found == variant), "{error}");
        assert!(!model.exists());
        let error = Weights::read_for_devices(&path).expect_err("an ablation").to_string();
        assert!(error.contains("weights.safetensors") && error.contains("devices"), "{error}");
    }
}

#[test]
fn a_variant_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    for (key, value) in [("attention", "tanh"), ("attention_masks", "3x3")] {
        // What a provenance of these names would be written as.
        let mut weights = weights();
        weights.provenance.insert(key.into(), value.into());
        weights.write(&path).expect("written");
        let error = Weights::read(&path).expect_err("unknown").to_string();
        assert!(error.contains("weights.safetensors") && error.contains(value), "{error}");
    }
}

#[test]
fn the_same_weights_make_the_same_bytes() {
    assert_eq!(Case::new(Precision::F16).bytes(), Case::new(Precision::F16).bytes());
}

#[test]
fn any_safetensors_reader_opens_it() {
    let bytes = Case::new(Precision::F16).bytes();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("plain safetensors");
    assert_eq!(tensors.tensor(KERNEL).expect("there").shape(), [6, 3, 4, 4]);
}

#[test]
fn an_absent_file_is_named() {
    let error = Model::open("/nonexistent/model.lbam".as_ref()).expect_err("absent").to_string();
    assert!(error.contains("/nonexistent/model.lbam"), "{error}");
}

#[test]
fn an_empty_file_is_refused() {
    let case = Case::new(Precision::F16);
    case.put(&[]);
    assert!(case.refusal().contains("cut short"));
}

#[test]
fn every_truncation_is_refused() {
    let case = Case::new(Precision::F16);
    let bytes = case.bytes();
    for length in (0..bytes.len()).step_by(997).chain([7, 8, 9, bytes.len() - 1]) {
        case.put(&bytes[..length]);
        case.refusal();
    }
}

#[test]
fn random_bytes_are_refused() {
    let case = Case::new(Precision::F16);
    let noise: Vec<u8> =
        (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    case.put(&noise);
    assert!(case.refusal().contains("not a model file"));
}

#[test]
fn bytes_after_the_end_are_refused() {
    let case = Case::new(Precision::F16);
    let mut bytes = case.bytes();
    bytes.extend([0; 64]);
    case.put(&bytes);
    case.refusal();
}

#[test]
fn a_flipped_bit_in_the_content_is_found() {
    let case = Case::new(Precision::F16);
    let mut bytes = case.bytes();
    let last = bytes.len() - 100;
    bytes[last] ^= 4;
    case.put(&bytes);
    assert!(case.refusal().contains("damaged"));
    let (_, check) = Model::open_ahead(&case.path).expect("the header is right");
    let error = check.wait().expect_err("the content is not").to_string();
    assert!(error.contains("damaged") && error.contains("model.lbam"), "{error}");
}

#[test]
fn overlapping_tensors_are_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| {
        let other = header["ec3.conv.conv.weight"]["data_offsets"].clone();
        header[KERNEL]["data_offsets"] = other;
    });
    case.refusal();
}

#[test]
fn offsets_out_of_range_are_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| header[KERNEL]["data_offsets"] = json!([1_u64 << 40, (1_u64 << 40) + 576]));
    case.refusal();
}

#[test]
fn a_wrong_shape_is_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| header[KERNEL]["shape"] = json!([3, 6, 4, 4]));
    assert!(case.refusal().contains("[3, 6, 4, 4]"));
}

#[test]
fn an_absurd_shape_is_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| header[KERNEL]["shape"] = json!([u64::MAX, u64::MAX, 4, 4]));
    case.refusal();
}

#[test]
fn a_wrong_type_is_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| header[KERNEL]["dtype"] = "BF16".into());
    assert!(case.refusal().contains("BF16"));
}

#[test]
fn a_missing_tensor_is_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| {
        let entry = header.as_object_mut().and_then(|map| map.remove(KERNEL)).expect("there");
        header["padding.extra"] = json!({
            "dtype": "U8", "shape": [576], "data_offsets": entry["data_offsets"],
        });
    });
    assert!(case.refusal().contains("is missing"));
}

#[test]
fn a_foreign_tensor_is_refused() {
    let case = Case::new(Precision::F16);
    case.edit(|header| {
        header["extra"] = json!({"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})
    });
    assert!(case.refusal().contains("extra"));
}

#[test]
fn an_absurd_header_is_refused() {
    let case = Case::new(Precision::F16);
    let mut bytes = case.bytes();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    case.put(&bytes);
    assert!(case.refusal().contains("not a model file"));
}

#[test]
fn a_header_of_more_than_a_mebibyte_is_refused() {
    let case = Case::new(Precision::F16);
    let bytes = case.bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    for (padded, good) in [((1 << 20) - 8, true), ((1 << 20) + 56, false)] {
        let mut new = (padded as u64).to_le_bytes().to_vec();
        new.extend(&bytes[8..8 + length]);
        new.resize(8 + padded, b' ');
        new.extend(&bytes[8 + length..]);
        case.put(&new);
        assert_eq!(Model::open(&case.path).is_ok(), good, "{padded} bytes");
    }
    assert!(case.refusal().contains("not a model file"));
}

#[test]
fn a_header_that_no_reader_would_take_is_not_written() {
    let case = Case::new(Precision::F16);
    let before = case.bytes();
    let mut weights = weights();
    weights.provenance.insert("notes".into(), "x".repeat(1 << 20));
    let error = write_model(&weights, Precision::F16, &case.path).expect_err("too long");
    assert!(error.to_string().contains("1 MiB"), "{error}");
    assert!(case.bytes() == before);
}

#[test]
fn misaligned_data_is_refused() {
    let case = Case::new(Precision::F16);
    let mut bytes = case.bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    bytes[..8].copy_from_slice(&(length as u64 + 8).to_le_bytes());
    bytes.splice(8 + length..8 + length, [b' '; 8]);
    case.put(&bytes);
    assert!(case.refusal().contains("multiple of 64"));
}

/// A tensor of 16 bytes changes places with the padding behind it.
#[test]
fn a_misaligned_tensor_is_refused() {
    let case = Case::new(Precision::F32);
    case.edit(|header| {
        let entries = header.as_object().expect("an object").iter();
        let places: Vec<(String, u64, u64)> = entries
            .filter_map(|(name, entry)| {
                let offsets = entry["data_offsets"].as_array()?;
                Some((name.clone(), offsets[0].as_u64()?, offsets[1].as_u64()?))
            })
            .collect();
        let swapped = places.iter().find_map(|(name, begin, end)| {
            let behind = |place: &&(String, u64, u64)| place.1 == *end && place.2 - end == 48;
            let padding = places.iter().find(behind)?;
            (end - begin == 16).then_some((name, padding, *begin))
        });
        let (name, padding, begin) = swapped.expect("a tensor of four numbers");
        header[&padding.0]["data_offsets"] = json!([begin, begin + 48]);
        header[name]["data_offsets"] = json!([begin + 48, begin + 64]);
    });
    assert!(case.refusal().contains("multiple of 64"));
}

#[test]
fn metadata_is_checked() {
    let cases: [(&str, Value, &str); 6] = [
        ("lbam_version", "2".into(), "version 2"),
        ("format", "pt".into(), "not \"lbam\""),
        ("base_channels", "many".into(), "not a number"),
        ("base_channels", "100000".into(), "not supported"),
        ("precision", "f8".into(), "not f32, f16 or int8"),
        ("checksum", "blake3:0".into(), "damaged"),
    ];
    for (key, value, said) in cases {
        let case = Case::new(Precision::F16);
        case.edit(|header| header["__metadata__"][key] = value);
        let refusal = case.refusal();
        assert!(refusal.contains(said), "{key}: {refusal}");
    }
}

#[test]
fn safetensors_without_our_metadata_are_refused() {
    let case = Case::new(Precision::F32);
    weights().write(&case.path).expect("written");
    let error = Model::open(&case.path).expect_err("training weights are no model").to_string();
    assert!(error.contains("model.lbam"), "{error}");
}

#[test]
fn nothing_is_left_of_a_failed_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = folder.path().join("model.lbam");
    std::fs::create_dir(&taken).expect("a folder in the file's place");
    assert!(write_model(&weights(), Precision::F16, &taken).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).expect("listing").count(), 1);
}

#[test]
fn a_weight_beyond_16_bits_is_refused() {
    let network = Network::new(1).expect("a supported width");
    let tensors = network.parameters().into_iter().map(|p| {
        let count = p.shape.iter().product();
        (p.name, (p.shape, vec![1e6_f32; count]))
    });
    let weights = Weights::from_tensors(tensors.collect(), BTreeMap::new()).expect("finite");
    let folder = tempfile::tempdir().expect("a folder");
    let error = write_model(&weights, Precision::F16, &folder.path().join("a.lbam"));
    assert!(error.expect_err("too large").to_string().contains("16 bits"));
}
