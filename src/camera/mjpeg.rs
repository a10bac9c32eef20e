//! MJPEG from files: a bare `.mjpeg` stream, or the one inside an `.avi`.
//!
//! An `.avi` is walked as RIFF, because a JPEG that merely happens to lie in it (a thumbnail,
//! the index's leftovers) is no frame. One of more than a gigabyte goes on in further lists of chunks
//! behind the first (OpenDML). If the walk finds none, or the file is a bare stream,
//! the pictures are found by their markers. The file is read through a buffer as it goes, so
//! an hour of video costs one frame of memory.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{CameraError, Captured, Sizes, Source};
use crate::file::is_special;
use crate::picture::{Bytes, Pool, StreamInfo};

/// Larger than any camera's JPEG; keeps a damaged length from eating the memory.
const MAX_JPEG: usize = 64 << 20;
/// Frame rate of a bare stream, which does not state one. ffmpeg takes the same.
const BARE_RATE: (u32, u32) = (25, 1);

/// Huffman and quantisation tables, number of lines, restart interval, a scan, a comment.
const MARKERS_BETWEEN_SCANS: [u8; 6] = [0xc4, 0xdb, 0xdc, 0xdd, 0xda, 0xfe];

pub(super) struct MjpegFile {
    path: PathBuf,
    reader: BufReader<File>,
    layout: Layout,
    /// The start of a picture was read that cut off the one before (bare streams).
    has_begun: bool,
    rate: (u32, u32),
    is_pipe: bool,
    pool: Pool,
    sizes: Sizes,
}

enum Layout {
    /// Chunks of an `.avi`, up to the byte where its `movi` list ends.
    Avi {
        end: u64,
    },
    Bare,
}

impl MjpegFile {
    pub fn open(path: &Path) -> Result<Self, CameraError> {
        let file = File::open(path).map_err(|error| CameraError::read(path.display(), error))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let (layout, rate) = find_layout(&mut reader, path)?;
        Ok(Self {
            path: path.into(),
            reader,
            layout,
            has_begun: false,
            rate,
            is_pipe: is_special(path),
            pool: Pool::default(),
            sizes: Sizes::default(),
        })
    }
}

impl Source for MjpegFile {
    fn describe(&self) -> String {
        format!("MJPEG file {}", self.path.display())
    }

    fn paces_itself(&self) -> bool {
        self.is_pipe
    }

    fn stream(&self) -> StreamInfo {
        StreamInfo { rate: self.rate, ..StreamInfo::default() }
    }

    fn next(&mut self) -> Result<Option<Captured>, CameraError> {
        let jpeg = match self.layout {
            Layout::Avi { end } => self.next_of_avi(end),
            Layout::Bare => next_marked(&mut self.reader, self.pool.empty(), &mut self.has_begun),
        };
        jpeg.map(|jpeg| jpeg.map(|jpeg| self.sizes.take(jpeg)))
            .map_err(|error| CameraError::read(self.path.display(), error))
    }
}

impl MjpegFile {
    /// The next picture of the list of chunks that ends there, or of those behind it.
    fn next_of_avi(&mut self, mut end: u64) -> std::io::Result<Option<Bytes>> {
        loop {
            let jpeg = next_chunk(&mut self.reader, end, self.pool.empty())?;
            if jpeg.is_some() {
                return Ok(jpeg);
            }
            let Some(next) = next_list(&mut self.reader, end)? else { return Ok(None) };
            end = next;
            self.layout = Layout::Avi { end };
        }
    }
}

fn find_layout(
    reader: &mut BufReader<File>,
    path: &Path,
) -> Result<(Layout, (u32, u32)), CameraError> {
    let read = |error| CameraError::read(path.display(), error);
    let mut start = [0; 12];
    let filled = fill(reader, &mut start).map_err(read)?;
    let is_avi = filled == 12 && &start[..4] == b"RIFF" && &start[8..] == b"AVI ";
    if !is_avi {
        if !start.starts_with(&[0xff, 0xd8]) {
            return Err(CameraError::NotVideo {
                path: path.into(),
                what: "neither MJPEG nor an .avi",
            });
        }
        // Within the buffer, since a pipe cannot go back.
        reader.seek_relative(-(filled as i64)).map_err(read)?;
        return Ok((Layout::Bare, BARE_RATE));
    }
    let mut rate = BARE_RATE;
    while let Some((name, size)) = chunk_header(reader).map_err(read)? {
        let begin = reader.stream_position().map_err(read)?;
        if &name == b"LIST" {
            let mut kind = [0; 4];
            if fill(reader, &mut kind).map_err(read)? < 4 {
                break;
            }
            if &kind == b"movi" {
                return Ok((Layout::Avi { end: end_of_list(begin, size) }, rate));
            }
            // Step into the header lists, over anything else.
            if &kind == b"hdrl" || &kind == b"strl" {
                continue;
            }
        } else if &name == b"strh" && (48..4096).contains(&size) {
            let mut header = vec![0; size as usize];
            if fill(reader, &mut header).map_err(read)? == header.len() && &header[..4] == b"vids" {
                if !header[4..8].eq_ignore_ascii_case(b"mjpg") && header[4..8] != [0; 4] {
                    return Err(CameraError::NotVideo {
                        path: path.into(),
                        what: "an .avi whose video is not MJPEG",
                    });
                }
                let number = |at: usize| {
                    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
                };
                let (scale, per) = (number(20), number(24));
                if scale > 0 && per > 0 {
                    rate = (per, scale);
                }
            }
        }
        let next = begin + u64::from(size) + u64::from(size % 2);
        reader.seek(SeekFrom::Start(next)).map_err(read)?;
    }
    Err(CameraError::NotVideo { path: path.into(), what: "an .avi without pictures in it" })
}

/// Where the list ends that begins there. A recorder that was cut off leaves the size at 0: all that
/// follows belongs to it then.
fn end_of_list(begin: u64, size: u32) -> u64 {
    if size > 4 { begin + u64::from(size) } else { u64::MAX }
}

/// Goes to the next `movi` list behind the one that ends there, in a `RIFF` chunk of kind `AVIX`.
/// Returns where it ends.
fn next_list(reader: &mut BufReader<File>, end: u64) -> std::io::Result<Option<u64>> {
    if end == u64::MAX {
        return Ok(None);
    }
    reader.seek(SeekFrom::Start(end + end % 2))?;
    while let Some((name, size)) = chunk_header(reader)? {
        if !name.iter().all(|letter| (b' '..=b'~').contains(letter)) {
            // No chunk: what some recorders leave behind the last.
            return Ok(None);
        }
        let begin = reader.stream_position()?;
        if &name == b"RIFF" || &name == b"LIST" {
            let mut kind = [0; 4];
            fill(reader, &mut kind)?;
            match &kind {
                b"movi" => return Ok(Some(end_of_list(begin, size))),
                b"AVIX" => continue,
                _ => {}
            }
        }
        reader.seek(SeekFrom::Start(begin + u64::from(size) + u64::from(size % 2)))?;
    }
    Ok(None)
}

/// The next picture among the chunks of a `movi` list: `NNdc` or `NNdb`. One without content, which
/// stands for a picture that was lost, is empty: masks count on.
fn next_chunk(
    reader: &mut BufReader<File>,
    end: u64,
    mut jpeg: Bytes,
) -> std::io::Result<Option<Bytes>> {
    loop {
        if reader.stream_position()? + 8 > end {
            return Ok(None);
        }
        let Some((name, size)) = chunk_header(reader)? else { return Ok(None) };
        if &name == b"LIST" {
            // `rec ` groups interleave sound and pictures: step inside.
            reader.seek_relative(4)?;
            continue;
        }
        let is_picture = name[2] == b'd' && (name[3] == b'c' || name[3] == b'b');
        if is_picture && size as usize <= MAX_JPEG {
            jpeg.vector().clear();
            reader.by_ref().take(size.into()).read_to_end(jpeg.vector())?;
            if size % 2 == 1 {
                reader.seek_relative(1)?;
            }
            // A file cut short: its last picture is not whole.
            return Ok((jpeg.len() == size as usize).then_some(jpeg));
        }
        reader.seek_relative(i64::from(size) + i64::from(size % 2))?;
    }
}

fn chunk_header(reader: &mut impl Read) -> std::io::Result<Option<([u8; 4], u32)>> {
    let mut header = [0; 8];
    if fill(reader, &mut header)? < 8 {
        return Ok(None);
    }
    let [a, b, c, d, size @ ..] = header;
    Ok(Some(([a, b, c, d], u32::from_le_bytes(size))))
}

/// The next picture of a bare stream, from its start marker to its end marker.
///
/// Segments are stepped over by their length, because an EXIF thumbnail has an end marker of
/// its own; only the entropy-coded part is searched byte by byte. One that the next cuts off there,
/// whose start `has_begun` then remembers, is a picture, too: masks count on. (Cut off within a
/// segment, it takes the next along; so behind its first scan only what may stand there is taken for
/// one.)
fn next_marked(
    reader: &mut impl Read,
    mut jpeg: Bytes,
    has_begun: &mut bool,
) -> std::io::Result<Option<Bytes>> {
    jpeg.vector().clear();
    let ended = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => Ok(None),
        _ => Err(error),
    };
    match read_marked(reader, jpeg.vector(), has_begun) {
        Ok(()) => Ok(Some(jpeg)),
        Err(error) => ended(error),
    }
}

fn read_marked(
    reader: &mut impl Read,
    jpeg: &mut Vec<u8>,
    has_begun: &mut bool,
) -> std::io::Result<()> {
    let mut byte = || -> std::io::Result<u8> {
        let mut one = [0];
        reader.read_exact(&mut one)?;
        Ok(one[0])
    };
    // Look for a start, skipping whatever lies between two pictures.
    let has_begun_before = std::mem::take(has_begun);
    if !has_begun_before {
        let mut last = byte()?;
        loop {
            let next = byte()?;
            if (last, next) == (0xff, 0xd8) {
                break;
            }
            last = next;
        }
    }
    jpeg.extend([0xff, 0xd8]);
    let (mut previous, mut is_scanned) = (0, false);
    if has_begun_before {
        jpeg.push(0xff);
        previous = 0xff;
    }
    loop {
        let next = byte()?;
        jpeg.push(next);
        if jpeg.len() > MAX_JPEG {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "a picture without an end"));
        }
        if previous == 0xff {
            match next {
                0xd9 => return Ok(()),
                // A new start inside a picture, which was cut off; or damage, if no marker follows.
                0xd8 => {
                    let after = byte()?;
                    if after == 0xff {
                        jpeg.truncate(jpeg.len() - 2);
                        *has_begun = true;
                        return Ok(());
                    }
                    jpeg.push(after);
                }
                // Fill bytes, stuffed zeros, restart markers and TEM have no length.
                0x00 | 0x01 | 0xd0..=0xd7 => {}
                0xff => continue,
                _ if is_scanned && !MARKERS_BETWEEN_SCANS.contains(&next) => {}
                _ => {
                    is_scanned |= next == 0xda;
                    let (high, low) = (byte()?, byte()?);
                    jpeg.extend([high, low]);
                    for _ in 2..u16::from_be_bytes([high, low]) {
                        jpeg.push(byte()?);
                    }
                }
            }
            previous = 0;
        } else {
            previous = next;
        }
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_are_no_frames_and_cut_pictures_damaged_ones() {
        let whole = [
            0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2,
            0xff, 0xd9,
        ];
        let cut = [0xff, 0xd8, 0xff, 0xda, 0, 2, 7];
        let mut stream = vec![9, 9];
        stream.extend(whole);
        stream.extend(cut);
        stream.extend(whole);
        // Two bytes that look like a start are none.
        let broken = [&whole[..14], &[0xff, 0xd8, 7], &whole[14..]].concat();
        stream.extend(&broken);
        let damaged_marker = [&whole[..14], &[0xff, 0xe2, 9, 9], &whole[14..]].concat();
        stream.extend(&damaged_marker);
        stream.extend(cut);
        let mut reader = stream.as_slice();
        let mut has_begun = false;
        let mut next =
            || next_marked(&mut reader, Pool::default().empty(), &mut has_begun).unwrap();
        assert_eq!(next().as_deref(), Some(&whole[..]));
        let damaged = next().unwrap();
        assert_eq!(&damaged[..], cut);
        assert!(!crate::picture::jpeg_is_whole(&damaged) && crate::picture::jpeg_is_whole(&whole));
        assert_eq!(next().as_deref(), Some(&whole[..]));
        assert_eq!(next().as_deref(), Some(&broken[..]));
        // What damage makes of a byte is no segment, which would take the next picture along.
        assert_eq!(next().as_deref(), Some(&damaged_marker[..]));
        assert!(!crate::picture::jpeg_is_whole(&broken));
        assert_eq!(next().as_deref(), None);
    }

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u32).to_le_bytes();
        let padding = &[0][..content.len() % 2];
        [&name[..], &size, content, padding].concat()
    }

    /// A list of pictures, and what else stands there.
    fn movi_of(pictures: &[&[u8]]) -> Vec<u8> {
        let mut content = b"movi".to_vec();
        content.extend(chunk(b"ix00", b"an index"));
        pictures.iter().for_each(|picture| content.extend(chunk(b"00dc", picture)));
        chunk(b"LIST", &content)
    }

    /// The same, of one byte each.
    fn movi(pictures: &[u8]) -> Vec<u8> {
        movi_of(&pictures.chunks(1).collect::<Vec<_>>())
    }

    fn opened(avi: &[u8]) -> MjpegFile {
        let file = tempfile::Builder::new().suffix(".avi").tempfile().unwrap();
        std::fs::write(file.path(), avi).unwrap();
        MjpegFile::open(file.path()).unwrap()
    }

    fn pictures_of(avi: &[u8]) -> Vec<u8> {
        let mut avi = opened(avi);
        let mut pictures = Vec::new();
        while let Some(Captured::Jpeg(jpeg)) = avi.next().unwrap() {
            pictures.extend_from_slice(&jpeg);
        }
        assert!(avi.next().unwrap().is_none(), "the end stays the end");
        pictures
    }

    #[test]
    fn a_long_avi_goes_on_behind_its_first_list() {
        let riff = |kind: &[u8; 4], parts: &[Vec<u8>]| {
            chunk(b"RIFF", &[&kind[..], &parts.concat()].concat())
        };
        let first = riff(b"AVI ", &[movi(&[1, 2]), chunk(b"idx1", b"odd")]);
        let more = riff(b"AVIX", &[chunk(b"JUNK", b"some"), movi(&[3])]);
        assert_eq!(pictures_of(&first), [1, 2]);
        let long = [&first[..], &more, &riff(b"AVIX", &[movi(&[4, 5])])].concat();
        assert_eq!(pictures_of(&long), [1, 2, 3, 4, 5]);
        assert_eq!(pictures_of(&[&long[..], &[0; 99]].concat()), [1, 2, 3, 4, 5]);
        // Another clip behind it is none of this one.
        assert_eq!(pictures_of(&[&first[..], &first].concat()), [1, 2]);
        // One that was lost is there, and empty.
        let mut lost = opened(&riff(b"AVI ", &[movi_of(&[&[7], &[], &[8]])]));
        let mut lengths = Vec::new();
        while let Some(Captured::Jpeg(jpeg)) = lost.next().unwrap() {
            lengths.push(jpeg.len());
        }
        assert_eq!(lengths, [1, 0, 1]);
        // Cut off within a picture.
        assert_eq!(pictures_of(&long[..long.len() - 2]), [1, 2, 3, 4]);
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("empty.avi", &b""[..]),
            ("short.avi", b"RIFF\x00\x00\x00\x00AVI LIST"),
            ("text.mjpeg", b"hello, this is no picture"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert!(MjpegFile::open(&path).is_err(), "{name}");
        }
    }
}
