//! The `.lbam` model file: writing, and opening by memory map. `docs/lbam-file.md` is the
//! format's page.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use super::int8::{self, Int8Tensors};
use super::layout::{Stored, arrange, stored};
use super::weights::ARCHITECTURE_KEY;
use super::{FILLS, FileError, SMOOTH, Weights, write_atomically};
use crate::net::{Attention, Network};

/// Tensors begin at multiples of this many bytes from the file's start: a cache line, and the
/// widest vector register.
pub const ALIGNMENT: usize = 64;
/// The version this program writes, and the only one it reads.
pub const VERSION: &str = "1";
/// Names of the tensors that only fill up to the next aligned offset begin so.
const PADDING: &str = "padding.";
/// Largest header accepted. Real ones are below 16 KiB.
const MAX_HEADER: u64 = 1 << 20;
/// Metadata key of the calibration's receipt.
const RECEIPT: &str = "receipt";
/// Prefix of provenance in the metadata.
const PROVENANCE: &str = "provenance.";

/// How kernels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; arithmetic is in 32 bits.
    F16,
    /// 8-bit integers, in the order in which the integer kernels read them.
    Int8,
}

impl Precision {
    /// The name as typed and as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Int8].into_iter().find(|precision| precision.name() == name)
    }
}

/// Writes `weights` as a model file of 16- or 32-bit floats.
///
/// # Errors
/// [`FileError::Variant`] for an ablation, [`FileError::Tensor`] where a weight does not fit 16
/// bits, [`FileError::HeaderTooLong`] where its provenance is longer than a file's header may be,
/// [`FileError::Write`] where the file cannot be written.
///
/// # Panics
/// For [`Precision::Int8`], which takes calibration: [`write_int8_model`].
pub fn write_model(weights: &Weights, precision: Precision, path: &Path) -> Result<(), FileError> {
    weights.for_devices()?;
    let network = weights.network();
    let narrow = |name: &str, values: &[f32]| -> Result<Vec<u8>, FileError> {
        let narrow: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        if narrow.iter().any(|value| !value.is_finite()) {
            let reason = "does not fit 16 bits; export with --precision f32";
            return Err(FileError::tensor(name, reason));
        }
        Ok(narrow.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    let mut tensors = Vec::new();
    for (stored, values) in stored(network, precision, &|_| None).into_iter().zip(arrange(weights))
    {
        let bytes = match stored.dtype {
            Dtype::F16 => narrow(&stored.name, &values)?,
            Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            other => panic!("floats are not written as {other:?}"),
        };
        tensors.push((stored, bytes));
    }
    write_atomically(path, &encode(network, precision, tensors, &weights.provenance, None)?)
}

/// Writes calibrated integers as a model file. `receipt` is JSON that says how they were made.
///
/// # Errors
/// [`FileError::HeaderTooLong`] where receipt and provenance are longer than a file's header may be,
/// [`FileError::Write`] where the file cannot be written.
pub fn write_int8_model(
    network: Network,
    int8: &Int8Tensors,
    provenance: &BTreeMap<String, String>,
    receipt: &str,
    path: &Path,
) -> Result<(), FileError> {
    let stored = stored(network, Precision::Int8, &|name| int8.pruned(name)).into_iter();
    let tensors = stored.map(|stored| {
        let bytes = int8.bytes(&stored.name).to_vec();
        (stored, bytes)
    });
    let bytes = encode(network, Precision::Int8, tensors, provenance, Some(receipt))?;
    write_atomically(path, &bytes)
}

fn encode(
    network: Network,
    precision: Precision,
    tensors: impl IntoIterator<Item = (Stored, Vec<u8>)>,
    provenance: &BTreeMap<String, String>,
    receipt: Option<&str>,
) -> Result<Vec<u8>, FileError> {
    let mut header = Map::new();
    // Filled in last, placed first.
    header.insert("__metadata__".into(), Value::Null);
    let mut data: Vec<u8> = Vec::new();
    for (stored, bytes) in tensors {
        assert_eq!(bytes.len(), stored.bytes(), "{} has its size", stored.name);
        let begin = data.len();
        data.extend(bytes);
        let (end, aligned) = (data.len(), data.len().next_multiple_of(ALIGNMENT));
        let entry = json!({
            "dtype": stored.dtype, "shape": stored.shape, "data_offsets": [begin, end],
        });
        header.insert(stored.name, entry);
        if aligned > end {
            data.resize(aligned, 0);
            let entry = json!({
                "dtype": "U8", "shape": [aligned - end], "data_offsets": [end, aligned],
            });
            header.insert(format!("{PADDING}{end}"), entry);
        }
    }
    let mut metadata = Map::new();
    metadata.insert("format".into(), "lbam".into());
    metadata.insert("lbam_version".into(), VERSION.into());
    metadata.insert("base_channels".into(), network.base().to_string().into());
    metadata.insert("precision".into(), precision.name().into());
    metadata.insert("checksum".into(), checksum(&data, by_all_cores).into());
    if let Some(receipt) = receipt {
        metadata.insert(RECEIPT.into(), receipt.into());
    }
    for (key, value) in provenance {
        metadata.insert(format!("{PROVENANCE}{key}"), value.clone().into());
    }
    header["__metadata__"] = Value::Object(metadata);
    let mut json = serde_json::to_vec(&header).expect("plain data");
    let padded = (json.len() + 8).next_multiple_of(ALIGNMENT) - 8;
    if padded as u64 > MAX_HEADER {
        return Err(FileError::HeaderTooLong(padded));
    }
    json.resize(padded, b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.extend(data);
    Ok(bytes)
}

/// Fewest bytes worth sharing their hash among threads: less takes a millisecond or two.
const SHARED_HASH: usize = 8 << 20;

/// How a hasher takes its data.
type Hash = fn(&mut blake3::Hasher, &[u8]);

fn by_all_cores(hasher: &mut blake3::Hasher, data: &[u8]) {
    match data.len() < SHARED_HASH {
        true => hasher.update(data),
        false => hasher.update_rayon(data),
    };
}

fn by_one_core(hasher: &mut blake3::Hasher, data: &[u8]) {
    hasher.update(data);
}

fn checksum(data: &[u8], hash: Hash) -> String {
    let mut hasher = blake3::Hasher::new();
    hash(&mut hasher, data);
    format!("blake3:{}", hasher.finalize().to_hex())
}

/// Values of a mapped tensor, where they lie in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
    /// Signed bytes.
    I8(&'a [i8]),
    /// Unsigned bytes.
    U8(&'a [u8]),
    /// 32-bit integers.
    I32(&'a [i32]),
}

impl Values<'_> {
    /// Copies into 32-bit floats; integers as they are.
    pub fn widen(&self) -> Vec<f32> {
        match self {
            Self::F32(values) => values.to_vec(),
            Self::F16(values) => values.to_f32_vec(),
            Self::I8(values) => values.iter().copied().map(f32::from).collect(),
            Self::U8(values) => values.iter().copied().map(f32::from).collect(),
            Self::I32(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }
}

/// A model file, mapped read-only. Pages are shared with every process that maps the same file.
///
/// Hazard: the map shows the file as it is. Replace a model by renaming a new file over it (as
/// [`write_model`] does), never by writing into it: cutting a mapped file short kills its readers.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    map: Mmap,
    /// Where the content begins.
    data_begin: usize,
    network: Network,
    precision: Precision,
    tensors: HashMap<String, (Range<usize>, Dtype)>,
    checksum: String,
    receipt: Option<String>,
    provenance: BTreeMap<String, String>,
}

impl Model {
    /// Maps and checks a model file: header, every tensor's name, type, shape and place, and the
    /// checksum of the content.
    ///
    /// # Errors
    /// [`FileError::InFile`] that names the file and the rule it breaks.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let model = Self::map(path)?;
        model.check_content(by_all_cores)?;
        Ok(model)
    }

    /// The same, but the content's checksum is found out beside the work that begins with the
    /// model: keep back what comes of that work until [`Check::wait`] says that the file is whole.
    /// (Content that is not whole makes wrong pictures, and no worse.)
    ///
    /// # Errors
    /// As [`Model::open`], except that an error of the content is the check's.
    pub fn open_ahead(path: &Path) -> Result<(Arc<Self>, Check), FileError> {
        let model = Arc::new(Self::map(path)?);
        let checked = Arc::clone(&model);
        // The other cores are left to the work.
        let check = move || checked.check_content(by_one_core);
        let check = thread::Builder::new().name("checksum".into()).spawn(check);
        Ok((model, Check(check.map_err(|source| FileError::read(path, source))?)))
    }

    fn map(path: &Path) -> Result<Self, FileError> {
        let read = |source| FileError::read(path, source);
        // To open a pipe would wait for whoever writes there.
        if super::is_special(path) {
            return Err(read(std::io::Error::other("it is a pipe or a device, and no file")));
        }
        let file = File::open(path).map_err(read)?;
        let about = file.metadata().map_err(read)?;
        if about.is_dir() {
            return Err(read(std::io::ErrorKind::IsADirectory.into()));
        }
        let length = about.len();
        let at_fault = |error: FileError| error.in_file(path);
        if length < 8 {
            return Err(at_fault(FileError::Truncated { length, needed: 8 }));
        }
        // SAFETY: the map is read-only and the file's own bytes are never trusted beyond what is
        // checked below. Another process that cuts the file short would raise SIGBUS here; the
        // type's documentation names that hazard, and no writer of this project does it.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Self::parse(path, map).map_err(at_fault)
    }

    fn parse(path: &Path, map: Mmap) -> Result<Self, FileError> {
        let header = u64::from_le_bytes(*map.first_chunk().expect("at least 8 bytes"));
        if header > MAX_HEADER {
            return Err(FileError::Header(header));
        }
        let data_begin = 8 + header as usize;
        if map.len() < data_begin {
            let (length, needed) = (map.len() as u64, data_begin as u64);
            return Err(FileError::Truncated { length, needed });
        }
        let (_, parsed) = SafeTensors::read_metadata(&map)?;
        let metadata = parsed.metadata().clone().unwrap_or_default();
        if metadata.contains_key(ARCHITECTURE_KEY) {
            return Err(FileError::Weights);
        }
        if !data_begin.is_multiple_of(ALIGNMENT) {
            return Err(FileError::Alignment { what: "the data section".into(), at: data_begin });
        }
        let value = |key: &str| -> Result<&str, FileError> {
            metadata.get(key).map(String::as_str).ok_or_else(|| FileError::Metadata {
                key: key.to_owned(),
                reason: "is missing; is this a .lbam file? (lbam-desk export makes one)".into(),
            })
        };
        let wrong = |key: &str, reason: String| FileError::Metadata { key: key.into(), reason };
        if value("format")? != "lbam" {
            let reason = format!("is \"{}\", not \"lbam\"", value("format")?);
            return Err(wrong("format", reason));
        }
        if value("lbam_version")? != VERSION {
            return Err(FileError::Version(value("lbam_version")?.to_owned()));
        }
        let base = value("base_channels")?;
        let base = base
            .parse()
            .map_err(|_| wrong("base_channels", format!("is \"{base}\", not a number")))?;
        let network = Network::new(base)?;
        let precision = value("precision")?;
        let precision = Precision::named(precision).ok_or_else(|| {
            wrong("precision", format!("is \"{precision}\", not f32, f16 or int8"))
        })?;
        let mut entries = parsed.tensors();
        let mut tensors = HashMap::new();
        let pruned = |name: &str| {
            let (begin, end) = entries.get(name)?.data_offsets;
            entries.contains_key(&int8::kept_name(name)).then_some(end - begin)
        };
        for expected in stored(network, precision, &pruned) {
            let info = entries
                .remove(&expected.name)
                .ok_or_else(|| FileError::tensor(&expected.name, "is missing"))?;
            let place = check_tensor(&expected, info, data_begin)?;
            tensors.insert(expected.name, (place, expected.dtype));
        }
        if let Some(name) = entries.keys().find(|name| !name.starts_with(PADDING)) {
            return Err(FileError::tensor(name, "is not part of this network"));
        }
        let checksum = value("checksum")?.to_owned();
        let provenance = metadata
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(PROVENANCE)?, value)))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        let receipt = metadata.get(RECEIPT).cloned();
        let path = path.to_owned();
        let model = Self {
            path,
            map,
            data_begin,
            network,
            precision,
            tensors,
            checksum,
            receipt,
            provenance,
        };
        if precision == Precision::Int8 {
            int8::check_kept(&model)?;
            int8::check_constants(&model)?;
        }
        Ok(model)
    }

    fn check_content(&self, hash: Hash) -> Result<(), FileError> {
        let found = checksum(&self.map[self.data_begin..], hash);
        if found == self.checksum {
            return Ok(());
        }
        let stated = self.checksum.clone();
        Err(FileError::Checksum { stated, found }.in_file(&self.path))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The network stored.
    pub fn network(&self) -> Network {
        self.network
    }

    /// How its kernels are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The checksum of the content, `blake3:` and 64 hexadecimal digits.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Where the weights come from.
    pub fn provenance(&self) -> &BTreeMap<String, String> {
        &self.provenance
    }

    /// Whether its fills are smooth and want detail.
    pub fn fills_smoothly(&self) -> bool {
        self.provenance.get(FILLS).is_some_and(|fills| fills == SMOOTH)
    }

    /// How the integers were made, as JSON; in int8 files.
    pub fn receipt(&self) -> Option<&str> {
        self.receipt.as_deref()
    }

    /// Size of the file, bytes.
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// The whole file.
    pub(super) fn content(&self) -> &[u8] {
        &self.map
    }

    /// Where a tensor lies in the file.
    ///
    /// # Panics
    /// If `name` is not a tensor of the network.
    pub(super) fn place(&self, name: &str) -> Range<usize> {
        self.tensors[name].0.clone()
    }

    /// Whether the file has a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of the file's layout (`docs/lbam-file.md`), in the map.
    ///
    /// # Panics
    /// If `name` is not a tensor of the network.
    pub fn values(&self, name: &str) -> Values<'_> {
        let (place, dtype) = &self.tensors[name];
        let bytes = &self.map[place.clone()];
        // Alignment and size were checked when the file was opened.
        match dtype {
            Dtype::F16 => Values::F16(bytemuck::cast_slice(bytes)),
            Dtype::I8 => Values::I8(bytemuck::cast_slice(bytes)),
            Dtype::U8 => Values::U8(bytes),
            Dtype::I32 => Values::I32(bytemuck::cast_slice(bytes)),
            _ => Values::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The attention whose scalars have this prefix, in range.
    ///
    /// # Panics
    /// If `prefix` is not an attention layer of the network, or the file is an int8 one.
    pub fn attention(&self, prefix: &str) -> Attention {
        let bytes = &self.map[self.tensors[prefix].0.clone()];
        let scalars: &[f32] = bytemuck::cast_slice(bytes);
        Attention::clamped(std::array::from_fn(|index| scalars[index]))
    }
}

/// A model's checksum on its way, from [`Model::open_ahead`].
#[derive(Debug)]
#[must_use = "what the model makes is nothing worth before its file is known to be whole"]
pub struct Check(JoinHandle<Result<(), FileError>>);

impl Check {
    /// Waits for it.
    ///
    /// # Errors
    /// [`FileError::InFile`] where the content is another than the one that was written.
    pub fn wait(self) -> Result<(), FileError> {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn check_tensor(
    expected: &Stored,
    info: &safetensors::tensor::TensorInfo,
    data_begin: usize,
) -> Result<Range<usize>, FileError> {
    if info.dtype != expected.dtype {
        let (found, wanted) = (info.dtype, expected.dtype);
        let reason = format!("is {found:?} where the file's precision asks for {wanted:?}");
        return Err(FileError::tensor(&expected.name, reason));
    }
    if info.shape != expected.shape {
        let reason =
            format!("has shape {:?} where the network has {:?}", info.shape, expected.shape);
        return Err(FileError::tensor(&expected.name, reason));
    }
    let (begin, end) = info.data_offsets;
    if end - begin != expected.bytes() {
        return Err(FileError::tensor(&expected.name, "has a size that belies its shape"));
    }
    if !(data_begin + begin).is_multiple_of(ALIGNMENT) {
        let what = format!("tensor {}", expected.name);
        return Err(FileError::Alignment { what, at: data_begin + begin });
    }
    Ok(data_begin + begin..data_begin + end)
}
