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

/// The sky under so many levels of noise.
fn grainy(levels: u8) -> Vec<u8> {
    let noise = noise(3 * SIZE * SIZE, 2);
    sky().iter().zip(noise).map(|(level, noise)| level + noise % levels).collect()
}

/// A tower up to the hole, so much lighter than what is behind it.
fn with_tower(mut picture: Vec<u8>, lighter: u8) -> Vec<u8> {
    for (at, pixel) in picture.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        if (60..68).contains(&(at % SIZE)) && (88..104).contains(&(at / SIZE)) {
            *pixel = pixel.map(|level| level.saturating_add(lighter));
        }
    }
    picture
}

/// As much of the hole as is away from the tower.
fn above() -> Region {
    region_of(&[(HOLE_BOX.0, HOLE_BOX.1, HOLE_BOX.2, 28)])
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
    let mean: Vec<u8> = truth.iter().map(|level| level + 4).collect();
    assert!(off(&filled(&grainy(8), 128, &region), &mean, &region) <= 2);
}

#[test]
fn a_sky_goes_on_but_for_what_is_beside_a_tower() {
    let region = region_of(&[HOLE_BOX]);
    let truth = sky();
    let mean: Vec<u8> = truth.iter().map(|level| level + 4).collect();
    for (known, truth) in [(sky(), truth), (grainy(8), mean)] {
        let fill = filled(&with_tower(known, 255), 128, &region);
        assert!(off(&fill, &truth, &above()) <= 2);
        let tip = 3 * (87 * SIZE + 64);
        assert_eq!(fill[tip..tip + 3], [128; 3]);
    }
}

/// From all of the rim to its rest.
#[test]
fn a_sky_stays_while_a_tower_appears() {
    let region = region_of(&[HOLE_BOX]);
    let (truth, above) = (sky(), above());
    let mut continuation = Continuation::new(&region).unwrap();
    for lighter in (0..=120).step_by(4) {
        let mut fill = vec![128; truth.len()];
        continuation.add(&with_tower(sky(), lighter), &mut fill);
        assert!(off(&fill, &truth, &above) <= 3, "{lighter}");
    }
}

/// What is left of the rim is off by as many levels as lie in the middle between smooth and rough.
#[test]
fn a_half_smooth_rest_counts_half() {
    let region = region_of(&[HOLE_BOX]);
    let half: Vec<u8> = sky().iter().map(|level| u8::midpoint(128, level + 5)).collect();
    let fill = filled(&with_tower(grainy(12), 255), 128, &region);
    assert!(off(&fill, &half, &above()) <= 3);
}

#[test]
fn where_nothing_stands_out_all_of_the_rim_counts() {
    let region = region_of(&[HOLE_BOX]);
    for levels in [1, 8, 14, 16, 18, 20] {
        let known = grainy(levels);
        let mut whole = Continuation::new(&region).unwrap();
        whole.cells.clear();
        let mut fill = vec![128; known.len()];
        whole.add(&known, &mut fill);
        assert!(filled(&known, 128, &region) == fill, "{levels}");
    }
}

#[test]
fn a_rough_rim_is_not_smooth_beside_a_tower() {
    let region = region_of(&[HOLE_BOX]);
    for levels in [18, 22, 28] {
        let fill = filled(&with_tower(grainy(levels), 255), 77, &region);
        assert!(fill.iter().all(|level| *level == 77), "{levels}");
    }
}

#[test]
fn the_frames_before_leave_nothing_in_a_surface() {
    let region = region_of(&[HOLE_BOX]);
    let mut continuation = Continuation::new(&region).unwrap();
    let known = with_tower(grainy(8), 255);
    let fills = [known.clone(), grainy(28), known].map(|known| {
        let mut fill = vec![128; known.len()];
        continuation.add(&known, &mut fill);
        fill
    });
    assert!(fills[0] == fills[2] && fills[0] != fills[1]);
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
    // What one has begun to search the next does not know.
    let found = (2..=31).find(|_| {
        let before = std::mem::replace(&mut next, Continuation::new(&region).unwrap());
        next.follow(&before);
        next.add(&truth, &mut fill);
        is_copied(&fill, &truth, &region)
    });
    assert_eq!(found, Some(31));
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

/// A surface through the rest of the rim, under noise, and half of one.
#[test]
fn the_same_bytes_beside_a_tower_everywhere() {
    let region = region_of(&[HOLE_BOX]);
    let mut all = blake3::Hasher::new();
    for known in [sky(), grainy(8), grainy(12)] {
        all.update(&filled(&with_tower(known, 255), 128, &region));
    }
    assert_eq!(&all.finalize().to_hex()[..16], "261260b80f1c450c");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the holes' shape and the picture: what is hidden makes no difference, and known
    /// pixels' fill stays.
    #[test]
    fn what_a_hole_hides_is_not_read(
        boxes in prop::collection::vec((0..SIZE, 0..SIZE, 1..70_usize, 1..70_usize), 1..4),
        seed in any::<u32>(),
        kind in 0..4,
    ) {
        let boxes: Vec<_> = boxes
            .into_iter()
            .map(|(x, y, width, height)| (x, y, width.min(SIZE - x), height.min(SIZE - y)))
            .collect();
        let region = region_of(&boxes);
        let picture = match kind {
            0 => sky(),
            1 => tiles(23, 17, 0),
            2 => with_tower(sky(), 255),
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
