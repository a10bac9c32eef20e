//! Whether a JPEG is undamaged, before it is decoded.
//!
//! Decoders go on behind damage: what follows a lost byte then lies some blocks further left or up,
//! and what a mask was to hide beside it. So a picture is looked through first: every code of its scans
//! is read (ITU-T T.81, annex F), and each run of blocks must be as long as the header says and end
//! where its data does. That takes a third of what decoding takes, since hardly a value is computed.
//!
//! Hazard: damage that keeps every code in its place passes; it changes shades and no place. So may damage
//! in several places that cancels out, though few pictures stay in range then. One loss does not.

use std::ops::ControlFlow;

/// Bits of a code that one look into a table decides.
const SHORT: u32 = 10;
/// Most bits of a block's first value.
const MOST_BITS: u8 = 11;
/// Most that eight times a block's mean is away from the middle.
const MOST_MEAN: i32 = 1024;
/// Values of a block.
const BLOCK: u32 = 64;
/// The Huffman tables of T.81, K.3, as a segment: pictures of cameras and AVIs may be without, and
/// mean these.
pub(super) const STANDARD_TABLES: &[u8; 420] = include_bytes!("standard_tables.dht");

/// How a picture is coded.
#[derive(Debug, PartialEq)]
pub(crate) enum Coding {
    /// As cameras do: one scan after the other, by Huffman's codes, in 8 bits.
    Sequential,
    /// Progressive, without loss, arithmetic, in 12 bits: most of it no decoder here reads.
    Other,
}

impl Coding {
    /// What a segment says of it.
    fn of(marker: u8, content: &[u8]) -> Option<Self> {
        match marker {
            0xc0 | 0xc1 if content.first() == Some(&8) => Some(Self::Sequential),
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => Some(Self::Other),
            _ => None,
        }
    }
}

/// How a picture is coded. One that is not sequential is looked through for its end alone.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn look_through(bytes: &[u8]) -> Result<Coding, &'static str> {
    let mut walk = Walk::default();
    if !has_tables(bytes) {
        walk.take(0xc4, &STANDARD_TABLES[4..]);
    }
    match walk.over(bytes) {
        Some(Coding::Sequential) => Ok(Coding::Sequential),
        _ if !is_whole(bytes) => Err("its end is missing"),
        other => other.ok_or("its data does not fit its header; it is damaged"),
    }
}

/// Whether a Huffman table stands before the first scan. Anything that is no chain of segments counts as
/// having one.
pub(super) fn has_tables(bytes: &[u8]) -> bool {
    let found = segments(behind_start(bytes), |marker, _, _| match marker {
        0xc4 => ControlFlow::Break(true),
        0xda => ControlFlow::Break(false),
        _ => ControlFlow::Continue(()),
    });
    found != ControlFlow::Break(false)
}

/// Width and height that the frame header states; `None` where there is none.
pub(crate) fn stated_size(bytes: &[u8]) -> Option<(u16, u16)> {
    let found = segments(behind_start(bytes), |marker, content, _| match *content {
        _ if Coding::of(marker, content).is_none() => ControlFlow::Continue(()),
        [_, a, b, c, d, ..] => {
            ControlFlow::Break((u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b])))
        }
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

fn behind_start(bytes: &[u8]) -> &[u8] {
    bytes.get(2..).unwrap_or(&[])
}

/// The marker that bytes begin with, and what follows it. Of several 0xff in a row all but the last fill
/// up.
fn marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let fill = bytes.iter().take_while(|&&byte| byte == 0xff).count();
    let (&marker, after) = bytes[fill..].split_first()?;
    (fill > 0).then_some((marker, after))
}

/// Shows `visit` the marker, content and what follows of one segment after the other, until it breaks or
/// what follows is none.
fn segments<'a, B>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(u8, &'a [u8], &'a [u8]) -> ControlFlow<B>,
) -> ControlFlow<B> {
    while let Some((marker, segment)) = marker(bytes) {
        let &[high, low, ..] = segment else { break };
        let length = usize::from(u16::from_be_bytes([high, low])).max(2);
        let Some((content, after)) = segment.split_at_checked(length) else { break };
        visit(marker, &content[2..], after)?;
        bytes = after;
    }
    ControlFlow::Continue(())
}

/// Whether the picture's own end-of-image marker follows its scans. The decoder is lenient and
/// paints what is missing in grey; a camera's cut frame would then flash grey on the screen.
///
/// Segments are stepped over by their length, because an EXIF thumbnail has an end marker of its
/// own. What follows the end is not looked at: phones keep whole videos there, cameras padding.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let mut scanned = false;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        let Some((&marker, after)) = rest[at + 1..].split_first() else { return false };
        rest = match marker {
            0xd9 => return scanned,
            // A new start inside a picture: the one before was cut off.
            0xd8 if scanned => return false,
            // Of several in a row all but the last fill up.
            0xff => &rest[at + 1..],
            // Stuffed zeros, TEM, restart markers and the start have no length.
            0x00 | 0x01 | 0xd0..=0xd8 => after,
            _ => {
                let [high, low, ..] = *after else { return false };
                scanned |= marker == 0xda;
                after.get(u16::from_be_bytes([high, low]) as usize..).unwrap_or(&[])
            }
        };
    }
    false
}

/// A Huffman table.
struct Table {
    /// Of the next [`SHORT`] bits: how many of them are a code, 0 if it is longer, and its symbol.
    short: Vec<(u8, u8)>,
    /// The same of values that follow the first: how many bits a code is with its value, 0 if it is longer
    /// or none, and how many values it steps over, 0 at a block's end.
    steps: Vec<(u8, u8)>,
    /// Of each length: one more than its last code, and what is added to a code for its symbol's place.
    long: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Of how many codes there are of each length from 1 to 16, and their symbols; `None` if these are
    /// more than there can be.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut short = vec![(0, 0); 1 << SHORT];
        let mut long = [(0, 0); 17];
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1..=16_u32).zip(counts) {
            let end = code + u32::from(count);
            if end > 1 << length || place + usize::from(count) > symbols.len() {
                return None;
            }
            long[length as usize] = (end, place as i32 - code as i32);
            if let Some(unused) = SHORT.checked_sub(length) {
                for (code, &symbol) in (code..end).zip(&symbols[place..]) {
                    let begin = (code << unused) as usize;
                    short[begin..begin + (1 << unused)].fill((length as u8, symbol));
                }
            }
            place += usize::from(count);
            code = end << 1;
        }
        let step = |&(length, symbol): &(u8, u8)| match (length, symbol >> 4, symbol & 15) {
            (0, ..) | (_, 1..15, 0) => (0, 0),
            (length, 0, 0) => (length, 0),
            (length, zeros, size) => (length + size, zeros + 1),
        };
        let steps = short.iter().map(step).collect();
        Some(Self { short, steps, long, symbols: symbols.to_vec() })
    }
}

/// The bits of a scan up to the next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Those that were taken from `bytes`, the next one first.
    window: u64,
    held: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, window: 0, held: 0 }
    }

    /// At least 32 of them, where there are as many.
    #[inline]
    fn fill(&mut self) {
        if self.held > 32 {
            return;
        }
        if let Some((four, rest)) = self.bytes.split_first_chunk::<4>() {
            let four = u32::from_be_bytes(*four);
            // No byte is 0xff: none of its opposite is zero.
            if (!four).wrapping_sub(0x0101_0101) & four & 0x8080_8080 == 0 {
                self.window |= u64::from(four) << (32 - self.held);
                (self.held, self.bytes) = (self.held + 32, rest);
                return;
            }
        }
        while self.held <= 56 {
            let (byte, length) = match *self.bytes {
                [0xff, 0, ..] => (0xff, 2),
                [0xff, ..] | [] => return,
                [byte, ..] => (byte, 1),
            };
            self.bytes = &self.bytes[length..];
            self.window |= u64::from(byte) << (56 - self.held);
            self.held += 8;
        }
    }

    /// Steps over so many, at most 32; `None` where there are not as many.
    #[inline]
    fn skip(&mut self, count: u32) -> Option<()> {
        self.held = self.held.checked_sub(count)?;
        self.window <<= count;
        Some(())
    }

    /// The length of the next code, and its symbol.
    #[inline]
    fn code(&mut self, table: &Table) -> Option<(u32, u8)> {
        self.fill();
        match table.short[(self.window >> (64 - SHORT)) as usize] {
            (0, _) => {}
            (length, symbol) => return Some((length.into(), symbol)),
        }
        (SHORT + 1..=16).find_map(|length| {
            let (end, to_place) = table.long[length as usize];
            let code = (self.window >> (64 - length)) as u32;
            let place = (code < end).then_some((code as i32 + to_place) as usize)?;
            Some((length, *table.symbols.get(place)?))
        })
    }

    /// Steps over a block; the difference that its first value begins with.
    fn block(&mut self, first: &Table, others: &Table) -> Option<i32> {
        let (length, size) = self.code(first).filter(|&(_, size)| size <= MOST_BITS)?;
        self.skip(length)?;
        let size = u32::from(size);
        let value = (self.window >> 1 >> (63 - size)) as i32;
        // Without a leading one it is below zero.
        let difference = if self.window >> 63 == 1 { value } else { value + 1 - (1 << size) };
        self.skip(size)?;
        let mut at = 1;
        while at < BLOCK {
            self.fill();
            match others.steps[(self.window >> (64 - SHORT)) as usize] {
                (0, _) => {}
                (bits, over) => {
                    self.skip(bits.into())?;
                    if over == 0 {
                        break;
                    }
                    at += u32::from(over);
                    continue;
                }
            }
            let (length, symbol) = self.code(others)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            self.skip(length + size)?;
            match (zeros, size) {
                (0, 0) => break,
                (1..15, 0) => return None,
                // Sixteen zeros, or so many and a value.
                _ => at += zeros + 1,
            }
        }
        (at <= BLOCK).then_some(difference)
    }

    /// What follows, if up to there is nothing but filler: the rest of a byte in ones or in zeros, and
    /// bytes of either.
    fn end(mut self) -> Option<&'a [u8]> {
        self.fill();
        let rest = self.held % 8;
        let alike = self.window.leading_ones().max(self.window.leading_zeros());
        if alike < rest {
            return None;
        }
        self.skip(rest)?;
        while self.held > 0 {
            if !matches!(self.window >> 56, 0 | 0xff) {
                return None;
            }
            self.skip(8)?;
            if self.held == 0 {
                self.fill();
            }
        }
        Some(self.bytes)
    }
}

/// A component of the picture.
struct Component {
    id: u8,
    across: u32,
    down: u32,
    /// The number of its quantisation table.
    quantiser: u8,
    scanned: bool,
}

/// What a chain of segments leads to.
enum Found<'a> {
    /// A scan's header and what follows it.
    Scan(&'a [u8], &'a [u8]),
    /// A picture that is not sequential.
    Other,
    Damage,
}

/// What the segments before a scan say.
#[derive(Default)]
struct Walk {
    /// By number; those of first values, then those of the others.
    tables: [[Option<Table>; 4]; 2],
    size: (u32, u32),
    components: Vec<Component>,
    /// By number: what first values are multiplied by.
    quantisers: [i32; 4],
    /// Runs of blocks between restarts; 0: one run.
    interval: u32,
}

impl Walk {
    /// Through a whole picture; `None` where it is damaged.
    fn over(mut self, bytes: &[u8]) -> Option<Coding> {
        let mut rest = behind_start(bytes);
        loop {
            let found = segments(rest, |marker, content, after| match marker {
                _ if Coding::of(marker, content) == Some(Coding::Other) => {
                    ControlFlow::Break(Found::Other)
                }
                0xda => ControlFlow::Break(Found::Scan(content, after)),
                _ => match self.take(marker, content) {
                    Some(()) => ControlFlow::Continue(()),
                    None => ControlFlow::Break(Found::Damage),
                },
            });
            let ControlFlow::Break(found) = found else { return None };
            rest = match found {
                Found::Scan(header, data) => self.scan(header, data)?,
                Found::Other => return Some(Coding::Other),
                Found::Damage => return None,
            };
            if marker(rest)?.0 == 0xd9 {
                let whole = self.components.iter().all(|part| part.scanned);
                return whole.then_some(Coding::Sequential);
            }
        }
    }

    /// What a segment says.
    fn take(&mut self, marker: u8, mut content: &[u8]) -> Option<()> {
        match marker {
            0xc4 => {
                while let Some((&which, rest)) = content.split_first() {
                    let (counts, symbols) = rest.split_first_chunk::<16>()?;
                    let count = counts.iter().map(|&count| usize::from(count)).sum();
                    let (symbols, rest) = symbols.split_at_checked(count)?;
                    let kind = self.tables.get_mut(usize::from(which >> 4))?;
                    *kind.get_mut(usize::from(which & 15))? = Some(Table::new(counts, symbols)?);
                    content = rest;
                }
            }
            0xdb => {
                while let Some((&which, rest)) = content.split_first() {
                    let is_wide = which >> 4 > 0;
                    let length = if is_wide { 128 } else { 64 };
                    let (values, rest) = rest.split_at_checked(length)?;
                    let first = if is_wide {
                        i32::from(u16::from_be_bytes([values[0], values[1]]))
                    } else {
                        i32::from(values[0])
                    };
                    *self.quantisers.get_mut(usize::from(which & 15))? = first;
                    content = rest;
                }
            }
            0xdd => {
                let &[high, low, ..] = content else { return None };
                self.interval = u16::from_be_bytes([high, low]).into();
            }
            // Baseline, and the same with more tables; in 8 bits.
            0xc0 | 0xc1 => {
                let &[8, y1, y0, x1, x0, count, ref parts @ ..] = content else { return None };
                self.size =
                    (u16::from_be_bytes([x1, x0]).into(), u16::from_be_bytes([y1, y0]).into());
                let part = |&[id, sampling, quantiser]: &[u8; 3]| Component {
                    id,
                    across: u32::from(sampling >> 4).clamp(1, 4),
                    down: u32::from(sampling & 15).clamp(1, 4),
                    quantiser,
                    scanned: false,
                };
                self.components = parts.as_chunks().0.iter().map(part).collect();
                if self.components.is_empty() || self.components.len() != usize::from(count) {
                    return None;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Through a scan; what follows it.
    fn scan<'a>(&mut self, header: &[u8], mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (&count, parts) = header.split_first()?;
        let parts = parts.as_chunks::<2>().0.get(..usize::from(count))?;
        let most = |side: fn(&Component) -> u32| self.components.iter().map(side).max();
        let (most_across, most_down) = (most(|part| part.across)?, most(|part| part.down)?);
        let (width, height) = self.size;
        let single = parts.len() == 1;
        // Runs of blocks across and down; of each run the tables, as often as it has blocks of them.
        let mut runs = (width.div_ceil(8 * most_across), height.div_ceil(8 * most_down));
        let mut blocks = Vec::new();
        for (at, &[id, tables]) in parts.iter().enumerate() {
            let part = self.components.iter_mut().find(|part| part.id == id && !part.scanned)?;
            part.scanned = true;
            let first = self.tables[0].get(usize::from(tables >> 4))?.as_ref()?;
            let others = self.tables[1].get(usize::from(tables & 15))?.as_ref()?;
            if single {
                let side = |side: u32, own: u32, most: u32| (side * own).div_ceil(most).div_ceil(8);
                runs = (side(width, part.across, most_across), side(height, part.down, most_down));
            }
            let count = if single { 1 } else { part.across * part.down };
            let quantiser = *self.quantisers.get(usize::from(part.quantiser))?;
            blocks.extend((0..count).map(|_| (first, others, at, quantiser)));
        }
        let all = runs.0 * runs.1;
        let interval = if self.interval == 0 { all } else { self.interval };
        let mut done = 0;
        while done < all {
            let mut bits = Bits::new(bytes);
            let end = all.min(done + interval);
            // First values, which add up from block to block.
            let mut means = [0_i32; 4];
            for _ in done..end {
                for &(first, others, part, quantiser) in &blocks {
                    let mean = means.get_mut(part)?;
                    *mean += bits.block(first, others)?;
                    // What was lost is missing in all that follow.
                    if mean.saturating_mul(quantiser).saturating_abs() > MOST_MEAN + quantiser {
                        return None;
                    }
                }
            }
            bytes = bits.end()?;
            let restart = (0xd0 + (end.div_ceil(interval) - 1) % 8) as u8;
            match marker(bytes) {
                Some((marker, rest)) if marker == restart => bytes = rest,
                // Behind the last run there need not be one.
                _ if end < all => return None,
                _ => {}
            }
            done = end;
        }
        (all > 0).then_some(bytes)
    }
}

#[cfg(test)]
#[path = "jpeg_tests.rs"]
mod tests;
