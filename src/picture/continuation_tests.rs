use proptest::prelude::*;

use super::*;
use crate::picture::KNOWN;
use crate::picture::detail::tests::{SIZE, mask_of, noise, region_of};

const HOLE_BOX: (usize, usize, usize, usize) = (40, 36, 44, 52);

/// A picture from a rule for its pixels, by columns and rows.
fn picture(pixel: impl Fn(usize, usize) -> [u8; 3]) -> Vec<u8> {
    (0..SIZE * SIZE).flat_map(|at| pixel(at % SIZE, at / SIZE)).collect()
}

/// A sky: lighter downwards, and towards a sun on the left.
fn sky() -> Vec<u8> {
    picture(|x, y| [60 + y / 2, 90 + y / 3, 160 + (SIZE - x) * (SIZE - x) / 400].map(|l| l as u8))
}

/// Tiles of noise, so many pixels wide and high, the first `phase` pixels further left.
fn tiles(width: usize, height: usize, phase: usize) -> Vec<u8> {
    let tile = noise(width * height, 1);
    picture(|x, y| [tile[y % height * width + (x + phase) % width]; 3])
}

/// The most that a fill is off, in levels, in the holes.
fn off(fill: &[u8], truth: &[u8], region: &Region) -> u8 {
    let holes = region.owned.data().iter().enumerate().filter(|(_, hole)| **hole != KNOWN);
    holes
        .flat_map(|(at, _)| 3 * at..3 * at + 3)
        .map(|at| fill[at].abs_diff(truth[at]))
        .max()
        .unwrap()
}

/// Whether most of the holes are as in truth, and the rest as before.
fn is_copied(fill: &[u8], truth: &[u8], region: &Region) -> bool {
    let holes = (0..SIZE * SIZE).filter(|at| region.owned.data()[*at] != KNOWN);
    let (copied, left): (Vec<_>, Vec<_>) = holes.partition(|at| fill[3 * at] == truth[3 * at]);
    left.iter().all(|at| fill[3 * at] == 128) && copied.len() >= 2 * left.len()
}

fn filled(known: &[u8], level: u8, region: &Region) -> Vec<u8> {
    let mut fill = vec![level; known.len()];
    Continuation::new(region).unwrap().add(known, &mut fill);
    fill
}

#[test]
fn a_sky_goes_on_under_its_noise() {
    let region = region_of(&[HOLE_BOX]);
    let truth = sky();
    assert!(off(&filled(&truth, 128, &region), &truth, &region) <= 1);
    let grainy: Vec<u8> =
        truth.iter().zip(noise(truth.len(), 2)).map(|(level, noise)| level + noise % 8).collect();
    let mean: Vec<u8> = truth.iter().map(|level| level + 4).collect();
    assert!(off(&filled(&grainy, 128, &region), &mean, &region) <= 2);
}

/// A surface that bends away from what is known ends at its lightest.
#[test]
fn in_a_corner_no_surface_runs_away() {
    let region = region_of(&[(0, 0, 100, 100)]);
    let steep = picture(|x, _| {
        [x.saturating_sub(96) * (x.saturating_sub(96)) / 8 + 20; 3].map(|l| l as u8)
    });
    let known = &steep;
    let fill = filled(known, 70, &region);
    let most = known.iter().max().unwrap();
    assert!(fill.iter().all(|level| level <= most));
}

#[test]
fn what_repeats_goes_on_to_the_pixel() {
    let region = region_of(&[HOLE_BOX]);
    let truth = tiles(23, 17, 0);
    assert!(is_copied(&filled(&truth, 128, &region), &truth, &region));
}

#[test]
fn a_step_stays_while_the_picture_moves_and_goes_with_it() {
    let region = region_of(&[HOLE_BOX]);
    let mut continuation = Continuation::new(&region).unwrap();
    let mut look = |known: &[u8]| {
        let mut fill = vec![128; known.len()];
        continuation.add(known, &mut fill);
        (fill, continuation.steps.step())
    };
    let (_, first) = look(&tiles(23, 17, 0));
    for phase in 1..9 {
        let truth = tiles(23, 17, phase);
        let (fill, step) = look(&truth);
        assert!(is_copied(&fill, &truth, &region) && step == first, "{phase}");
    }
    // Another scene, in which the step leads elsewhere.
    let truth = tiles(19, 29, 0);
    let (fill, step) = look(&truth);
    assert!(is_copied(&fill, &truth, &region));
    assert_ne!(step, first);
    let (fill, step) = look(&noise(3 * SIZE * SIZE, 3));
    assert!(step.is_none() && fill.iter().all(|level| *level == 128));
}

#[test]
fn what_is_found_later_is_found() {
    let region = region_of(&[HOLE_BOX]);
    let mut continuation = Continuation::new(&region).unwrap();
    let mut fill = vec![128; 3 * SIZE * SIZE];
    continuation.add(&noise(3 * SIZE * SIZE, 3), &mut fill);
    let truth = tiles(23, 17, 0);
    let found = (1..=31).find(|_| {
        continuation.add(&truth, &mut fill);
        is_copied(&fill, &truth, &region)
    });
    assert_eq!(found, Some(31), "thirty frames, and the one that looks");
}

#[test]
fn the_next_mask_goes_on_with_the_step() {
    let [before, region] = [HOLE_BOX, (44, 30, 40, 50)].map(|hole| region_of(&[hole]));
    let truth = tiles(23, 17, 0);
    let mut first = Continuation::new(&before).unwrap();
    first.add(&truth, &mut vec![128; truth.len()]);
    let mut next = Continuation::new(&region).unwrap();
    next.follow(&first);
    assert!(first.steps.step().is_some());
    assert_eq!(next.steps.step(), first.steps.step());
    let mut fill = vec![128; truth.len()];
    next.add(&truth, &mut fill);
    assert!(is_copied(&fill, &truth, &region));
}

/// Masks may change with every frame: where there was no step none is looked for each time.
#[test]
fn the_next_mask_waits_as_the_one_before_did() {
    let region = region_of(&[HOLE_BOX]);
    let mut first = Continuation::new(&region).unwrap();
    first.add(&noise(3 * SIZE * SIZE, 3), &mut vec![128; 3 * SIZE * SIZE]);
    let mut next = Continuation::new(&region).unwrap();
    next.follow(&first);
    let truth = tiles(23, 17, 0);
    let mut fill = vec![128; truth.len()];
    next.add(&truth, &mut fill);
    assert!(next.steps.step().is_none() && fill.iter().all(|level| *level == 128));
}

#[test]
fn where_nothing_is_plain_the_fill_stays() {
    let region = region_of(&[HOLE_BOX]);
    let fill = filled(&noise(3 * SIZE * SIZE, 3), 77, &region);
    assert!(fill.iter().all(|level| *level == 77));
}

/// All is off by as many levels as lie in the middle between smooth and rough.
#[test]
fn what_is_half_smooth_counts_half() {
    let region = region_of(&[HOLE_BOX]);
    // Five levels above and below the mean.
    let known = picture(|x, y| [if (x + y) % 2 == 0 { 95 } else { 105 }; 3]);
    let fill = filled(&known, 140, &region);
    let hole = 3 * ((HOLE_BOX.1 + 20) * SIZE + HOLE_BOX.0 + 20);
    assert!((118..=122).contains(&fill[hole]), "{}", fill[hole]);
}

#[test]
fn nothing_known_is_nothing_to_go_on_from() {
    assert!(Continuation::new(&region_of(&[(0, 0, SIZE, SIZE)])).is_none());
    // One row has no surface.
    assert!(Continuation::new(&region_of(&[(0, 1, SIZE, SIZE - 1)])).is_none());
}

/// A surface under noise, half of one, and what repeats.
#[test]
fn the_same_bytes_everywhere() {
    let region = region_of(&[HOLE_BOX]);
    let mut all = blake3::Hasher::new();
    let noisy = |most: u8| -> Vec<u8> {
        let noise = noise(3 * SIZE * SIZE, 3);
        sky().iter().zip(noise).map(|(level, noise)| level.saturating_add(noise % most)).collect()
    };
    let found = [noisy(8), noisy(18), tiles(23, 17, 0)].map(|known| {
        let fill = filled(&known, 128, &region);
        all.update(&fill);
        fill
    });
    assert!(found.iter().all(|fill| *fill != filled(&noise(3 * SIZE * SIZE, 4), 128, &region)));
    assert_eq!(&all.finalize().to_hex()[..16], "9ed97ad7a7e30233");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the holes' shape and the picture: what is hidden makes no difference, and known
    /// pixels' fill stays.
    #[test]
    fn what_a_hole_hides_is_not_read(
        boxes in prop::collection::vec((0..SIZE, 0..SIZE, 1..70_usize, 1..70_usize), 1..4),
        seed in any::<u32>(),
        kind in 0..3,
    ) {
        let boxes: Vec<_> = boxes
            .into_iter()
            .map(|(x, y, width, height)| (x, y, width.min(SIZE - x), height.min(SIZE - y)))
            .collect();
        let region = region_of(&boxes);
        let picture = match kind {
            0 => sky(),
            1 => tiles(23, 17, 0),
            _ => noise(3 * SIZE * SIZE, seed),
        };
        let hidden = noise(picture.len(), seed.wrapping_add(1));
        let mut other = picture.clone();
        for at in (0..other.len()).filter(|at| mask_of(SIZE, &boxes).data()[at / 3] != KNOWN) {
            other[at] = hidden[at];
        }
        let Some(mut first) = Continuation::new(&region) else { return Ok(()) };
        let mut second = Continuation::new(&region).unwrap();
        let [mut fill, mut same] = [vec![128; picture.len()], vec![128; picture.len()]];
        first.add(&picture, &mut fill);
        second.add(&other, &mut same);
        prop_assert!(fill == same);
        let known = (0..fill.len()).filter(|at| region.owned.data()[at / 3] == KNOWN);
        prop_assert!(known.into_iter().all(|at| fill[at] == 128));
    }
}
