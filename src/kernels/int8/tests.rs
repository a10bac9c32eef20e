//! Every kernel against the portable one, and the portable one against sums written out.

use proptest::prelude::*;

use super::*;
use crate::kernels::workers;

/// A convolution with everything it needs, owned.
#[derive(Debug, Clone)]
struct Case {
    sources: Vec<Plane>,
    rows: usize,
    columns: usize,
    weights: Vec<i8>,
    kept: Option<Kept>,
    offsets: Vec<[i32; LANES]>,
    multipliers: Vec<[f32; LANES]>,
    zeros: Vec<[f32; LANES]>,
    map: Plane,
    step: usize,
}

/// Numbers that look random, from a seed.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

impl Case {
    /// `blocks` x 16 outputs of `height` x `width`; `extreme` draws only the ends of each range.
    fn new(
        (height, width): (usize, usize),
        channels: usize,
        sources: usize,
        blocks: usize,
        halving: bool,
        extreme: bool,
        seed: u64,
    ) -> Self {
        let mut noise = noise(seed);
        let mut byte = |extreme: bool| match noise() {
            draw if extreme => {
                if draw % 2 == 0 {
                    0
                } else {
                    255
                }
            }
            draw => draw as u8,
        };
        let (rows, step) = if halving { (4, 2) } else { (2, 1) };
        let mut plane = |height: usize, width: usize, channels: usize| {
            let mut plane = Plane::new(height, width, &vec![7; channels]);
            plane.bytes_mut().iter_mut().for_each(|value| *value = byte(extreme));
            plane
        };
        let sources: Vec<Plane> =
            (0..sources).map(|_| plane(step * height, step * width, channels)).collect();
        let map = plane(height, width, blocks * LANES);
        let inputs = sources.len() * rows * rows * channels;
        let weights =
            (0..inputs * blocks * LANES)
                .map(|_| {
                    if extreme {
                        if byte(true) == 0 { -128 } else { 127 }
                    } else {
                        byte(false) as i8
                    }
                })
                .collect();
        let spread = if extreme { 1e-3 } else { 1.0 / (inputs as f32 * 2000.0) };
        let float = |byte: u8| f32::from(byte) / 255.0;
        Self {
            rows,
            columns: rows,
            step,
            sources,
            weights,
            kept: None,
            offsets: (0..blocks)
                .map(|_| [(); LANES].map(|()| (i32::from(byte(false)) - 128) * inputs as i32))
                .collect(),
            multipliers: (0..blocks)
                .map(|_| [(); LANES].map(|()| spread * (0.1 + float(byte(false)))))
                .collect(),
            zeros: (0..blocks).map(|_| [(); LANES].map(|()| f32::from(byte(false)))).collect(),
            map,
        }
    }

    fn convolution<'a>(&'a self, sums: &'a [[i32; LANES]]) -> Convolution<'a> {
        Convolution {
            sums,
            sources: self.sources.len(),
            rows: self.rows,
            columns: self.columns,
            channels: self.sources[0].channels(),
            weights: &self.weights,
            kept: self.kept.as_ref(),
            offsets: &self.offsets,
            multipliers: &self.multipliers,
            zeros: &self.zeros,
        }
    }

    fn weight_sums(&self, kernel: Kernel) -> Vec<[i32; LANES]> {
        kernel.weight_sums(&self.weights, self.kept.as_ref(), self.offsets.len())
    }

    /// The same with some groups of weights zero, and with these left out; in 16 parts, `share` of
    /// them.
    fn pruned(&self, share: u64, seed: u64) -> (Self, Self) {
        let mut noise = noise(seed);
        let (blocks, rows, sources) = (self.offsets.len(), self.rows, self.sources.len());
        let groups = self.columns * self.sources[0].channels() / GROUP;
        let of_block = sources * rows * groups;
        let flags: Vec<u8> =
            (0..blocks.div_ceil(2) * of_block).map(|_| u8::from(noise() % 16 >= share)).collect();
        let (mut zeroed, mut left) = (self.clone(), self.clone());
        left.weights.clear();
        let group_bytes = GROUP * LANES;
        for (at, group) in zeroed.weights.chunks_exact_mut(group_bytes).enumerate() {
            match flags[at / of_block / 2 * of_block + at % of_block] {
                0 => group.fill(0),
                _ => left.weights.extend_from_slice(group),
            }
        }
        let row_bytes = self.sources[0].row_bytes();
        left.kept = Some(Kept::new(&flags, blocks, (sources, rows, groups), row_bytes));
        (zeroed, left)
    }

    fn pixels(&self) -> Pixels {
        let (input, output) = (&self.sources[0], &self.map);
        Pixels::new(
            (0..output.height()).flat_map(|y| (0..output.width()).map(move |x| (y, x))),
            |y, x| self.step * (y * input.row_bytes() + x * input.channels()),
            |y, x| (y + 1) * output.row_bytes() + (x + 1) * output.channels(),
        )
    }

    fn blank(&self) -> Plane {
        Plane::new(self.map.height(), self.map.width(), &vec![0; self.map.channels()])
    }

    fn modulated(&self, kernel: Kernel) -> Plane {
        let inputs: Vec<&Plane> = self.sources.iter().collect();
        let mut output = self.blank();
        let sums = self.weight_sums(kernel);
        let convolution = (self.convolution(&sums), (0, 0));
        kernel.modulate(&[convolution], &inputs, &self.map, &mut output, &self.pixels());
        output
    }

    fn attended(&self, kernel: Kernel) -> (Plane, Plane) {
        let table = std::array::from_fn(|index| [(index % 251) as u8, (index / 16) as u8]);
        let (mut map, mut updated) = (self.blank(), self.blank());
        kernel.attend(
            &self.convolution(&self.weight_sums(kernel)),
            &self.sources[0],
            &table,
            &mut map,
            &mut updated,
            &self.pixels(),
        );
        (map, updated)
    }
}

/// The modulated output by the definition, tap by tap, on whole numbers and single operations.
fn by_definition(case: &Case) -> Plane {
    let mut output = case.blank();
    let (groups, inputs) = (case.columns * case.sources[0].channels() / GROUP, case.rows);
    for y in 0..output.height() {
        for x in 0..output.width() {
            for channel in 0..output.channels() {
                let (block, lane) = (channel / LANES, channel % LANES);
                let mut sum = 0_i64;
                for (source, plane) in case.sources.iter().enumerate() {
                    for row in 0..case.rows {
                        for at in 0..groups * GROUP {
                            let place = (y * case.step + row) * plane.row_bytes()
                                + x * case.step * plane.channels()
                                + at;
                            let group = ((block * case.sources.len() + source) * inputs + row)
                                * groups
                                + at / GROUP;
                            let weight = case.weights[(group * LANES + lane) * GROUP + at % GROUP];
                            sum += i64::from(plane.bytes()[place]) * i64::from(weight);
                        }
                    }
                }
                let sum = i32::try_from(sum).expect("sums fit 32 bits");
                let value = (sum - case.offsets[block][lane]) as f32;
                let value = value * case.multipliers[block][lane];
                let value = value * f32::from(case.map.row(y)[x * output.channels() + channel]);
                let value = if value > 0.0 { value } else { value * crate::net::LEAKY_SLOPE };
                let value = (value + case.zeros[block][lane]).round_ties_even();
                output.row_mut(y)[x * case.map.channels() + channel] =
                    value.clamp(0.0, 255.0) as u8;
            }
        }
    }
    output
}

fn case() -> impl Strategy<Value = Case> {
    let size = (1_usize..7, 1_usize..12);
    let channels = prop_oneof![Just(4_usize), (1_usize..5).prop_map(|blocks| blocks * LANES)];
    (size, channels, 1_usize..3, 1_usize..6, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(size, channels, sources, blocks, halving, extreme, seed)| {
            Case::new(size, channels, sources, blocks, halving, extreme, seed)
        },
    )
}

/// Threads to share with, so that pieces are done side by side.
fn start_workers() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| workers::set_threads(3, || {}));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_kernel_is_the_definition(case in case(), threads in 1_usize..4) {
        start_workers();
        let expected = by_definition(&case);
        prop_assert!(expected.bytes().iter().any(|&value| value != 0));
        for kernel in Kernel::all() {
            let found = case.modulated(kernel.on_threads(threads));
            prop_assert!(found == expected, "{} differs", kernel.name());
        }
    }

    #[test]
    fn weights_that_are_gone_are_zeros(
        case in case(),
        threads in 1_usize..4,
        share in 0_u64..17,
        seed in any::<u64>(),
    ) {
        start_workers();
        let (zeroed, left) = case.pruned(share, seed);
        let expected = by_definition(&zeroed);
        for kernel in Kernel::all() {
            let found = left.modulated(kernel.on_threads(threads));
            prop_assert!(found == expected, "{} differs", kernel.name());
        }
    }

    #[test]
    fn every_kernel_attends_alike(case in case(), threads in 1_usize..4) {
        start_workers();
        let case = Case { sources: case.sources[..1].to_vec(), ..case };
        let taps = case.rows * case.columns * case.sources[0].channels();
        let case = Case { weights: case.weights[..taps * case.offsets.len() * LANES].to_vec(), ..case };
        let expected = case.attended(Kernel::portable());
        for kernel in Kernel::all() {
            let found = case.attended(kernel.on_threads(threads));
            prop_assert!(found == expected, "{} differs", kernel.name());
        }
    }
}

/// The last layer's three by three taps, its twelve lanes, and its rows.
#[test]
fn every_kernel_paints_alike() {
    let table: [u8; TABLE] = std::array::from_fn(|index| (index / 16) as u8);
    let mut case = Case::new((6, 10), 32, 2, 1, false, false, 5);
    (case.rows, case.columns) = (3, 3);
    let mut noise = noise(9);
    case.weights = (0..2 * 9 * 32 * LANES).map(|_| noise() as i8).collect();
    case.zeros = vec![[2048.0; LANES]];
    case.multipliers = vec![[0.01; LANES]];
    case.offsets = vec![[0; LANES]];
    let (input, row_bytes) = (&case.sources[0], 20 * 3);
    let pixels = Pixels::new(
        (0..6).flat_map(|y| (0..10).map(move |x| (y, x))),
        |y, x| y * input.row_bytes() + x * input.channels(),
        |y, x| 2 * y * row_bytes + 6 * x,
    );
    let paint = |kernel: Kernel| {
        let inputs: Vec<&Plane> = case.sources.iter().collect();
        let mut output = vec![0; 12 * row_bytes];
        let sums = case.weight_sums(kernel);
        let convolution = case.convolution(&sums);
        kernel.picture(&convolution, &inputs, &table, &mut output, row_bytes, &pixels);
        output
    };
    let expected = paint(Kernel::portable());
    let levels: std::collections::BTreeSet<_> = expected.iter().collect();
    assert!(levels.len() > 100, "the whole range is used");
    for kernel in Kernel::all() {
        assert!(paint(kernel) == expected, "{} differs", kernel.name());
    }
}

#[test]
fn every_kernel_copies_what_is_known() {
    let mut random = noise(5);
    let mut byte = move || random() as u8;
    for width in 0..40 {
        let pixels: Vec<[u8; 3]> = (0..width).map(|_| [byte(), byte(), byte()]).collect();
        let known: Vec<u8> = (0..width).map(|_| if byte() < 100 { 0 } else { 255 }).collect();
        let wanted: Vec<[u8; 4]> = (pixels.iter().zip(&known))
            .map(|(&[r, g, b], &known)| if known == 0 { [0; 4] } else { [r, g, b, 255] })
            .collect();
        for kernel in Kernel::all() {
            // Whatever the picture before left there.
            let mut inputs: Vec<_> =
                known.iter().map(|&known| [byte(), byte(), byte(), known]).collect();
            kernel.copy_known(&pixels, &mut inputs);
            assert_eq!(inputs, wanted, "{}", kernel.name());
        }
    }
}

#[test]
fn sums_at_the_ends_of_their_range_are_exact() {
    for halving in [false, true] {
        let case = Case::new((3, 5), 1024, 2, 1, halving, true, 3);
        let (zeroed, left) = case.pruned(4, 7);
        for (expected, case) in [(&case, &case), (&zeroed, &left)] {
            let expected = by_definition(expected);
            for kernel in Kernel::all() {
                assert!(case.modulated(kernel) == expected, "{} differs", kernel.name());
            }
        }
    }
}

/// Odd numbers of groups, and rows that no kernel's buffer or register ends with.
#[test]
fn every_kernel_takes_any_shape() {
    for (side, channels, sources) in [(1, 4, 1), (3, 4, 1), (3, 4, 2), (3, 20, 1), (3, 404, 2)] {
        let mut case = Case::new((3, 5), channels, sources, 3, false, false, 11);
        (case.rows, case.columns) = (side, side);
        let mut noise = noise(13);
        let weights = 3 * sources * side * side * channels * LANES;
        case.weights = (0..weights).map(|_| noise() as i8).collect();
        let expected = by_definition(&case);
        for kernel in Kernel::all() {
            let found = case.modulated(kernel);
            assert!(found == expected, "{} differs, {side} x {channels}", kernel.name());
        }
    }
}

#[test]
#[should_panic(expected = "a pixel reads outside its plane")]
fn a_pixel_outside_is_refused() {
    let mut case = Case::new((4, 4), 16, 1, 1, true, false, 1);
    case.sources = vec![Plane::new(4, 8, &[0; 16])];
    case.modulated(Kernel::best());
}

#[test]
fn a_border_is_set_and_nothing_else() {
    let mut plane = Plane::new(3, 2, &[7, 8]);
    (0..3).for_each(|y| plane.row_mut(y).fill(1));
    plane.set_border(&[4, 5]);
    let mut expected = Plane::new(3, 2, &[4, 5]);
    (0..3).for_each(|y| expected.row_mut(y).fill(1));
    assert_eq!(plane, expected);
}
