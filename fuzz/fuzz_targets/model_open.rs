//! No bytes make `Model::open` or `Weights::read` panic, and what opens can be read to its end.
//!
//! Bytes at random stop at the first check. So the first byte chooses how far they get: they are
//! the whole file, the header before a good file's content, or changes in a good file. The
//! checksum that a header states is put right, or hardly an input would pass it.
#![no_main]

use std::sync::LazyLock;

use lbam_fuzz::file::{Model, Precision, Weights, write_int8_model, write_model};
use lbam_fuzz::{integers, read_everything, weights};
use libfuzzer_sys::fuzz_target;

/// A model file of each precision, and training weights.
static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let weights = weights(1, [("steps".into(), "1".into())].into(), || 0.25).expect("good weights");
    let read = || std::fs::read(file.path()).expect("just written");
    let model = |precision| {
        write_model(&weights, precision, file.path()).expect("written");
        read()
    };
    let mut files = [Precision::F32, Precision::F16].map(model).to_vec();
    let tensors = integers(weights.network());
    write_int8_model(weights.network(), &tensors, &weights.provenance, "{}", file.path())
        .expect("written");
    files.push(read());
    weights.write(file.path()).expect("written");
    files.push(read());
    files
});

/// A good file's header, without its length, and the content after it.
fn split(file: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = file.split_first_chunk().expect("8 bytes of length");
    rest.split_at(u64::from_le_bytes(*length) as usize)
}

fn joined(header: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    let checksum = format!("blake3:{}", blake3::hash(content).to_hex());
    let stated = header.windows(7).position(|found| found == b"blake3:");
    if let Some(place) = stated.and_then(|at| header.get_mut(at..at + checksum.len())) {
        place.copy_from_slice(checksum.as_bytes());
    }
    header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), content].concat()
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, input)) = input.split_first() else { return };
    let good = &GOOD[usize::from(how) % GOOD.len()];
    let (header, content) = split(good);
    let file = match how / 86 {
        0 => input.to_vec(),
        1 => joined(input, content),
        _ => {
            let mut changed = [header, content].concat();
            // Each change: where (24 bits), and the new byte.
            for &[low, middle, high, byte] in input.as_chunks::<4>().0 {
                let at = u32::from_le_bytes([low, middle, high, 0]) as usize % changed.len();
                changed[at] = byte;
            }
            let (header, content) = changed.split_at(header.len());
            joined(header, content)
        }
    };
    let place = tempfile::NamedTempFile::new().expect("a file");
    let path = place.path();
    std::fs::write(path, &file).expect("written");
    if let Ok(model) = Model::open(path) {
        read_everything(&model);
    }
    if let Ok(weights) = Weights::read(path) {
        weights.write(path).expect("what was read can be written");
        assert_eq!(Weights::read(path).expect("and read again"), weights);
    }
});
