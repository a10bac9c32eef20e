use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

use super::*;
use crate::picture::patches::Patches;
use crate::picture::{Mask, PixelBox, plan, plan_whole};
use proptest::prelude::*;

pub(in crate::picture) const SIZE: usize = 128;

pub(in crate::picture) fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut random = Pcg32::new(u64::from(seed), 0);
    (0..count).map(|_| (random.next_u32() >> 24) as u8).collect()
}

pub(in crate::picture) fn mask_of(size: usize, boxes: &[(usize, usize, usize, usize)]) -> Mask {
    let mut mask = Mask::empty(size, size).unwrap();
    for &(x, y, width, height) in boxes {
        mask.fill_box(&PixelBox { x, y, width, height });
    }
    mask
}

pub(in crate::picture) fn region_of(boxes: &[(usize, usize, usize, usize)]) -> Region {
    plan_whole(&mask_of(SIZE, boxes)).unwrap().unwrap()
}

/// Stripes of cloth, lit from the left: `[known, what a network would make of the hole]`.
pub(in crate::picture) fn cloth(phase: usize) -> [Vec<u8>; 2] {
    let pixel = |at: usize, stripe: usize| {
        let (x, y) = (at % SIZE, at / SIZE);
        let light = 60 + x / 2;
        let stripe = if (x + 2 * y + phase) % 6 < 3 { 0 } else { stripe };
        [light + stripe, light + stripe / 2, 90].map(|level| level as u8)
    };
    let picture = |stripe: usize| (0..SIZE * SIZE).flat_map(|at| pixel(at, stripe)).collect();
    let smooth = (0..SIZE * SIZE).flat_map(|at| {
        let light = 60 + at % SIZE / 2;
        [light + 24, light + 12, 90].map(|level| level as u8)
    });
    [picture(48), smooth.collect()]
}

/// How much red differs from pixel to pixel along rows, in the mean: of cloth 16 levels.
fn roughness(picture: &[u8], region: &Region) -> f64 {
    let red = |at: usize| picture[3 * at];
    let hole = |at: &usize| region.owned.data()[*at] != KNOWN;
    let steps: Vec<u8> =
        (0..SIZE * SIZE).filter(hole).map(|at| red(at).abs_diff(red(at + 1))).collect();
    steps.iter().map(|&step| f64::from(step)).sum::<f64>() / steps.len() as f64
}

/// What [`Detail`] and [`Patches`] have in common.
pub(in crate::picture) trait Finisher: Sized {
    fn new(region: &Region, search: Search) -> Option<Self>;
    fn follow(&mut self, before: &Self);
    fn add(&mut self, known: &[u8], fill: &mut [u8]);
}

macro_rules! finisher {
    ($kind:ty) => {
        impl Finisher for $kind {
            fn new(region: &Region, search: Search) -> Option<Self> {
                <$kind>::new(region, search)
            }

            fn follow(&mut self, before: &Self) {
                self.follow(before);
            }

            fn add(&mut self, known: &[u8], fill: &mut [u8]) {
                self.add(known, fill);
            }
        }
    };
}

finisher!(Detail);
finisher!(Patches);

pub(in crate::picture) fn texture_goes_on<F: Finisher>() {
    let region = region_of(&[(40, 40, 40, 36)]);
    let [known, smooth] = cloth(0);
    let wanted = roughness(&known, &region);
    assert!(roughness(&smooth, &region) < 1.0 && wanted > 15.0);
    for search in [Search::Thorough, Search::Live] {
        let mut fill = smooth.clone();
        F::new(&region, search).unwrap().add(&known, &mut fill);
        let found = roughness(&fill, &region);
        assert!((0.6 * wanted..1.2 * wanted).contains(&found), "{search:?}: {found} of {wanted}");
    }
}

/// `change` tells how much two bytes differ; in the mean over the hole's it stays below `most`, for a
/// match that is found late: a patch here and there.
pub(in crate::picture) fn follows_what_moves_and_rests<F: Finisher>(
    change: fn(&u8, &u8) -> f64,
    most: f64,
) {
    const RESTS: usize = 20;
    let region = region_of(&[(40, 40, 40, 36)]);
    let mut finish = F::new(&region, Search::Live).unwrap();
    let mut last = vec![0; 3 * SIZE * SIZE];
    let bytes = 3.0 * region.owned.hole_pixels() as f64;
    for frame in 0..3 * RESTS {
        let [known, mut fill] = cloth(frame.min(RESTS));
        finish.add(&known, &mut fill);
        let (found, wanted) = (roughness(&fill, &region), roughness(&known, &region));
        assert!(found > 0.6 * wanted, "frame {frame}: {found} of {wanted}");
        let changes = fill.iter().zip(&last).map(|(now, before)| change(now, before));
        let changed = changes.sum::<f64>() / bytes;
        assert!(frame < 2 * RESTS || changed < most, "frame {frame}: {changed} change");
        last = fill;
    }
}

/// By a mask that moves by a pixel a frame, as that of a detector, over cloth that rests.
pub(in crate::picture) fn is_taken_over_by_the_next_mask<F: Finisher>() {
    let [known, smooth] = cloth(0);
    let changes = |follows: bool| {
        let (mut before, mut changed): (Option<(F, Vec<u8>)>, u64) = (None, 0);
        for x in 30..50 {
            let region = region_of(&[(x, 40, 40, 36)]);
            let mut finish = F::new(&region, Search::Live).unwrap();
            let mut fill = smooth.clone();
            if let Some((before, _)) = before.as_ref().filter(|_| follows) {
                finish.follow(before);
            }
            finish.add(&known, &mut fill);
            for at in (40..76).flat_map(|y| y * SIZE + x..y * SIZE + x + 39) {
                let apart = |last: &[u8]| u64::from(fill[3 * at].abs_diff(last[3 * at]));
                changed += before.as_ref().map_or(0, |(_, last)| apart(last));
            }
            before = Some((finish, fill));
        }
        changed
    };
    let (followed, anew) = (changes(true), changes(false));
    assert!(2 * followed < anew, "{followed}, {anew} anew");
}

pub(in crate::picture) fn wants_a_known_patch<F: Finisher>() {
    for boxes in [vec![(0, 0, SIZE, SIZE)], (0..SIZE).map(|x| (x / 7 * 7, 0, 1, SIZE)).collect()] {
        assert!(F::new(&region_of(&boxes), Search::Thorough).is_none());
    }
}

/// Of the fills of these frames, smooth before.
pub(in crate::picture) fn hash_of<F: Finisher>(
    searches: &[Search],
    frames: impl Fn(u32) -> Vec<u8>,
) -> String {
    let region = region_of(&[(10, 20, 50, 40), (90, 0, 30, 128)]);
    let mut all = blake3::Hasher::new();
    for &search in searches {
        let mut finish = F::new(&region, search).unwrap();
        for frame in 0..4 {
            let known = frames(frame);
            let mut fill: Vec<u8> = (0..known.len()).map(|at| (at / 300) as u8).collect();
            finish.add(&known, &mut fill);
            all.update(&fill);
        }
    }
    all.finalize().to_hex()[..16].into()
}

#[test]
fn texture_goes_on_in_the_hole() {
    texture_goes_on::<Detail>();
}

#[test]
fn a_fill_follows_what_moves_and_rests_when_it_rests() {
    // Of bytes that are not the same.
    follows_what_moves_and_rests::<Detail>(|now, before| f64::from(u8::from(now != before)), 0.1);
}

#[test]
fn matches_are_taken_over_by_the_next_mask() {
    is_taken_over_by_the_next_mask::<Detail>();
}

#[test]
fn where_no_patch_is_known_there_is_none() {
    wants_a_known_patch::<Detail>();
}

/// A match of other colours, for want of a better one, brings nothing.
#[test]
fn what_is_like_nothing_around_stays_smooth() {
    let region = region_of(&[(40, 40, 40, 36)]);
    let known = noise(3 * SIZE * SIZE, 1).into_iter().map(|level| level / 4).collect::<Vec<u8>>();
    let mut fill = vec![250; known.len()];
    Detail::new(&region, Search::Thorough).unwrap().add(&known, &mut fill);
    // In the middle, where the coarse band is that of the fill alone.
    let middle = (56..64).flat_map(|y| &fill[3 * (y * SIZE + 56)..][..24]);
    assert!(middle.clone().all(|&level| level == 250), "{:?}", middle.collect::<Vec<_>>());
}

#[test]
fn the_same_bytes_everywhere() {
    let hash = hash_of::<Detail>(&[Search::Live], |frame| noise(3 * SIZE * SIZE, frame));
    assert_eq!(hash, "a746cb67496fbdad");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn holes_of_the_picture_and_what_lies_around_the_fill_do_not_matter(
        size in 1_usize..300,
        boxes in prop::collection::vec((0_usize..300, 0_usize..300, 1_usize..90, 1_usize..90), 1..5),
        live in any::<bool>(),
        seed in any::<u32>(),
    ) {
        for region in plan(&mask_of(size, &boxes), 128).unwrap() {
            let search = if live { Search::Live } else { Search::Thorough };
            let [first, second] = [(); 2].map(|()| Detail::new(&region, search));
            let (Some(mut first), Some(mut second)) = (first, second) else { continue };
            let pixels = region.width * region.height;
            for frame in 0..3 {
                let [known, fill, other] = [0, 1, 2].map(|kind| {
                    noise(3 * pixels, seed.wrapping_add(8 * frame + kind))
                });
                let differing = |bytes: &[u8], where_hole: bool| -> Vec<u8> {
                    let swap = |at: usize| (region.holes.data()[at / 3] != KNOWN) == where_hole;
                    (0..bytes.len()).map(|at| if swap(at) { other[at] } else { bytes[at] }).collect()
                };
                let (mut filled, mut around) = (fill.clone(), differing(&fill, false));
                let around_before = around.clone();
                first.add(&known, &mut filled);
                second.add(&differing(&known, true), &mut around);
                for at in 0..fill.len() {
                    if region.owned.data()[at / 3] == KNOWN {
                        prop_assert!(filled[at] == fill[at] && around[at] == around_before[at]);
                    } else {
                        prop_assert!(filled[at] == around[at]);
                    }
                }
            }
        }
    }
}
