//! A run's figures as a TensorBoard event file.
//!
//! The format is TensorFlow's: records of `length, checksum, event, checksum`, little-endian, where
//! an event is a protocol buffer (`tensorflow/core/util/event.proto`). Each start of a run writes a
//! file of its own, and TensorBoard shows all that lie in the folder as one.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::DeskError;

/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";
/// Added to a turned checksum, so that checksums of data with checksums inside stay good.
const CHECKSUM_DELTA: u32 = 0xa282_ead8;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
}

/// TensorFlow's `SessionLog`.
#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Session {
    const START: Self = Self { status: 1 };
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file being written.
pub(super) struct Events {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Bytes of whole events.
    length: u64,
}

impl Events {
    /// A new file in a run's folder, of a run that has done so many steps. What files of before say of
    /// later ones, as when a run was killed behind its checkpoint, counts no more.
    ///
    /// # Errors
    /// [`DeskError::Io`] where it cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self, DeskError> {
        let nanoseconds = since_1970().as_nanos();
        let path = folder.join(format!("events.out.tfevents.{nanoseconds:020}.lbam"));
        let file = File::create(&path).map_err(DeskError::io(&path))?;
        let mut events = Self { file, path, length: 0 };
        let file_version = Some(VERSION.to_owned());
        events.write(Event { file_version, ..Event::default() })?;
        events.write(Event {
            step: step as i64 + 1,
            session: Some(Session::START),
            ..Event::default()
        })?;
        Ok(events)
    }

    /// Adds figures of a step, each under its name.
    ///
    /// # Errors
    /// [`DeskError::Io`] where they cannot be written: a full disk.
    pub fn add(&mut self, step: u64, figures: &[(&str, f32)]) -> Result<(), DeskError> {
        let value = |&(tag, simple_value): &(&str, f32)| Value { tag: tag.into(), simple_value };
        let summary = Summary { values: figures.iter().map(value).collect() };
        self.write(Event { step: step as i64, summary: Some(summary), ..Event::default() })
    }

    /// Adds an event of now, or nothing.
    fn write(&mut self, event: Event) -> Result<(), DeskError> {
        let event = Event { wall_time: since_1970().as_secs_f64(), ..event }.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(checksum(&length).to_le_bytes());
        record.extend(&event);
        record.extend(checksum(&event).to_le_bytes());
        // In one piece: a program that reads along never meets half a record for long.
        let written = self.file.write_all(&record);
        match written {
            Ok(()) => self.length += record.len() as u64,
            // What there was room for.
            Err(_) => {
                let cut = self.file.set_len(self.length);
                let end = cut.and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
                end.map_err(DeskError::io(&self.path))?;
            }
        }
        written.map_err(DeskError::io(&self.path))
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(CHECKSUM_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), 6).unwrap();
        events.add(7, &[("loss", 0.5), ("rate", 1e-4)]).unwrap();
        let mut bytes = &std::fs::read(&events.path).unwrap()[..];
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(head[8..], checksum(&head[..8]).to_le_bytes());
            assert_eq!(rest[length..length + 4], checksum(&rest[..length]).to_le_bytes());
            found.push(Event::decode(&rest[..length]).unwrap());
            bytes = &rest[length + 4..];
        }
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].file_version.as_deref(), Some(VERSION));
        assert_eq!((found[1].step, found[1].session.clone()), (7, Some(Session::START)));
        assert_eq!(found[2].step, 7);
        let values = &found[2].summary.as_ref().unwrap().values;
        assert_eq!((values[0].tag.as_str(), values[0].simple_value), ("loss", 0.5));
        assert_eq!((values[1].tag.as_str(), values[1].simple_value), ("rate", 1e-4));
    }
}
