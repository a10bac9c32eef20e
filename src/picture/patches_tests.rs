use proptest::prelude::*;

use super::*;
use crate::picture::detail::tests::{
    SIZE, cloth, follows_what_moves_and_rests, hash_of, is_taken_over_by_the_next_mask, mask_of,
    noise, region_of, texture_goes_on, wants_a_known_patch,
};
use crate::picture::plan;

#[test]
fn texture_goes_on_in_the_hole() {
    texture_goes_on::<Patches>();
}

/// Grey with noise, and beside it the same grey without, from which a smooth fill differs least.
#[test]
fn a_hole_in_what_is_rough_is_not_filled_with_what_is_smooth() {
    let region = region_of(&[(40, 44, 30, 40)]);
    let noise = noise(SIZE * SIZE, 4);
    let pixel = |at: usize| if at % SIZE < 84 { [104 + noise[at] / 4; 3] } else { [136; 3] };
    let known: Vec<u8> = (0..SIZE * SIZE).flat_map(pixel).collect();
    let mut fill = vec![136; 3 * SIZE * SIZE];
    Patches::new(&region, Search::Thorough).unwrap().add(&known, &mut fill);
    let holes: Vec<usize> = (0..SIZE * SIZE).filter(|at| region.owned.data()[*at] != 0).collect();
    let apart: u32 = holes.iter().map(|at| u32::from(fill[3 * at].abs_diff(136))).sum();
    // Known pixels are 16 levels from it in the mean.
    assert!(apart > 7 * holes.len() as u32, "{} in {}", apart, holes.len());
}

#[test]
fn a_fill_follows_what_moves_and_rests_when_it_rests() {
    // Levels.
    follows_what_moves_and_rests::<Patches>(|now, before| f64::from(now.abs_diff(*before)), 0.3);
}

#[test]
fn matches_are_taken_over_by_the_next_mask() {
    is_taken_over_by_the_next_mask::<Patches>();
}

/// Every match keeps its vote when another mask has the same holes, and its turn to be looked at.
#[test]
fn the_same_mask_once_more_changes_nothing() {
    let region = region_of(&[(44, 30, 40, 60)]);
    let mut patches = Patches::new(&region, Search::Live).unwrap();
    for frame in 0..7 {
        let [known, mut smooth] = cloth(0);
        patches.add(&known, &mut smooth);
        let mut next = Patches::new(&region, Search::Live).unwrap();
        next.follow(&patches);
        let costs = |patches: &Patches| -> Vec<(u32, u32)> {
            patches.matches.targets.iter().map(|target| (target.found, target.cost)).collect()
        };
        assert!(costs(&next) == costs(&patches), "frame {frame}");
        assert!(next.picture == patches.picture && next.turn == patches.turn, "frame {frame}");
        patches = next;
    }
    assert_ne!(patches.turn, 1, "always the same quarter");
}

/// Where regions overlap, each has a fill of its own, and the first that is followed counts.
#[test]
fn of_two_fills_the_first_is_taken() {
    let region = region_of(&[(44, 30, 40, 60)]);
    let [first, second] = [40, 200].map(|level| {
        let mut patches = Patches::new(&region, Search::Live).unwrap();
        let mut fill = vec![level; 3 * SIZE * SIZE];
        patches.add(&vec![level; 3 * SIZE * SIZE], &mut fill);
        patches
    });
    let mut next = Patches::new(&region, Search::Live).unwrap();
    next.follow(&first);
    next.follow(&second);
    assert!(next.picture == first.picture);
}

#[test]
fn where_no_patch_is_known_there_is_none() {
    wants_a_known_patch::<Patches>();
}

/// Light on the left, dark on the right; in the hole the network goes from one to the other by 24
/// pixels: `[known, the network's]`.
fn edge() -> [Vec<u8>; 2] {
    const EDGE: usize = 64;
    let rows = |level: fn(usize) -> usize| -> Vec<u8> {
        (0..3 * SIZE * SIZE).map(|at| level(at / 3 % SIZE) as u8).collect()
    };
    let known = rows(|x| if x < EDGE { 200 } else { 40 });
    [known, rows(|x| 200 - 160 * x.saturating_sub(EDGE - 12).min(24) / 24)]
}

/// From the first frame on, or from the first after a cut.
#[test]
fn a_blurred_edge_gets_sharp_where_it_was() {
    let region = region_of(&[(44, 30, 40, 60)]);
    let [known, blurred] = edge();
    let cases = [
        (Search::Thorough, 0, false),
        (Search::Live, 0, false),
        (Search::Live, 20, false),
        (Search::Live, 20, true),
    ];
    for (search, before, another_mask) in cases {
        let mut patches = Patches::new(&region, search).unwrap();
        for _ in 0..before {
            let [known, mut smooth] = cloth(0);
            patches.add(&known, &mut smooth);
        }
        if another_mask {
            let mut next = Patches::new(&region, search).unwrap();
            next.follow(&patches);
            patches = next;
        }
        let mut fill = blurred.clone();
        patches.add(&known, &mut fill);
        for y in 30..90 {
            let levels = (44..84).map(|x| fill[3 * (y * SIZE + x)]);
            let between = levels.clone().filter(|level| (60..180).contains(level)).count();
            let light = levels.filter(|&level| level > 120).count();
            assert!(
                between <= 6 && (17..=24).contains(&light),
                "{search:?}, {another_mask}, row {y}: {between}, {light}"
            );
        }
    }
}

/// A scene that changes by little from frame to frame, so that none is of another than the one before,
/// ends up as one that begins so; light that changes on all of it begins nothing anew.
#[test]
fn what_drifts_away_is_let_go() {
    let region = region_of(&[(44, 30, 40, 60)]);
    let [known, blurred] = edge();
    // Of 32 steps from cloth to the edge so many.
    let at = |step: usize| {
        let mixed = |from: &[u8], to: &[u8]| -> Vec<u8> {
            let level = |(a, b): (&u8, &u8)| {
                ((usize::from(*a) * (32 - step) + usize::from(*b) * step) / 32) as u8
            };
            from.iter().zip(to).map(level).collect()
        };
        let [cloth, smooth] = cloth(0);
        [mixed(&cloth, &known), mixed(&smooth, &blurred)]
    };
    let mut patches = Patches::new(&region, Search::Live).unwrap();
    let (mut fill, mut anew) = (Vec::new(), 0);
    for step in (0..32).chain([32; 8]) {
        let [known, smooth] = at(step);
        fill = smooth;
        patches.add(&known, &mut fill);
        anew += u32::from(patches.passes == 1);
    }
    assert!(anew > 1, "{anew}");
    for y in 30..90 {
        let levels = (44..84).map(|x| fill[3 * (y * SIZE + x)]);
        let between = levels.filter(|level| (60..180).contains(level)).count();
        assert!(between <= 6, "row {y}: {between}");
    }
    let based = patches.based.clone();
    for light in 1..=12 {
        let brighter = |levels: &[u8]| levels.iter().map(|level| level + light).collect::<Vec<_>>();
        patches.add(&brighter(&known), &mut brighter(&blurred));
        assert!(patches.based == based && patches.passes == PASSES.len(), "{light}");
    }
    // A cloud comes: a factor, which leaves the dark side of the edge nearly as it was.
    for light in (60..=100).rev() {
        let dimmed = |levels: &[u8]| -> Vec<u8> {
            levels.iter().map(|level| (u32::from(*level) * light / 100) as u8).collect()
        };
        patches.add(&dimmed(&known), &mut dimmed(&blurred));
        assert!(patches.based == based && patches.passes == PASSES.len(), "{light}");
    }
}

/// Matches lie where a black box comes to stand beside the hole: no piece of it shows in the hole.
#[test]
fn what_walks_by_is_not_copied() {
    let region = region_of(&[(44, 30, 40, 60)]);
    let mut patches = Patches::new(&region, Search::Live).unwrap();
    for frame in 0..24 {
        let mut known: Vec<u8> =
            noise(3 * SIZE * SIZE, frame + 1).iter().map(|noise| 112 + noise / 16).collect();
        for y in 20..110 {
            known[3 * (y * SIZE + 100)..][..3 * 20].fill(if frame < 12 { 120 } else { 0 });
        }
        let mut fill = vec![120; known.len()];
        patches.add(&known, &mut fill);
        let holes = (0..SIZE * SIZE).filter(|at| region.owned.data()[*at] != 0);
        let darkest = holes.map(|at| fill[3 * at]).min();
        assert!(darkest > Some(104), "frame {frame}: {darkest:?}");
    }
}

/// All patches over a pixel that agree fully: their sum still is one of 32 bits.
#[test]
fn votes_do_not_overflow() {
    let most = u64::from(weight(0, nearness(0)));
    assert!(most * 255 * (SIDE * SIDE) as u64 <= u64::from(u32::MAX));
    assert!((0..=u32::from(u16::MAX)).all(|cost| weight(cost, nearness(SIZE as u16)) > 0));
}

/// A frame of a scene, with a little noise.
fn frame_of(scene: u32, count: usize, seed: u32) -> Vec<u8> {
    let pixels = noise(count, scene).into_iter().zip(noise(count, seed));
    pixels.map(|(scene, noise)| scene / 2 + noise / 16).collect()
}

#[test]
fn the_same_bytes_everywhere() {
    // The last is of another scene.
    let frames = |frame| frame_of(frame / 3, 3 * SIZE * SIZE, 8 + frame);
    let hash = hash_of::<Patches>(&[Search::Thorough, Search::Live], frames);
    assert_eq!(hash, "3e2a3d5ada4739ab");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn holes_of_the_picture_and_what_lies_around_the_fill_do_not_matter(
        size in 1_usize..300,
        boxes in prop::collection::vec((0_usize..300, 0_usize..300, 1_usize..90, 1_usize..90), 1..5),
        live in any::<bool>(),
        cuts in any::<bool>(),
        seed in any::<u32>(),
    ) {
        for region in plan(&mask_of(size, &boxes), 128).unwrap() {
            let search = if live { Search::Live } else { Search::Thorough };
            let [first, second] = [(); 2].map(|()| Patches::new(&region, search));
            let (Some(mut first), Some(mut second)) = (first, second) else { continue };
            let hole = |at: usize| region.network_holes.data()[at / 3] != KNOWN;
            for frame in 0..3 {
                let bytes = region.network_bytes();
                let [mut fill, other] =
                    [1, 2].map(|kind| noise(bytes, seed.wrapping_add(8 * frame + kind)));
                let scene = if cuts { frame } else { 0 };
                let known = frame_of(scene, bytes, seed.wrapping_add(8 * frame));
                let differing = |bytes: &[u8], where_hole: bool| -> Vec<u8> {
                    let swap = |at: usize| hole(at) == where_hole;
                    (0..bytes.len()).map(|at| if swap(at) { other[at] } else { bytes[at] }).collect()
                };
                let (before, mut around) = (fill.clone(), differing(&fill, false));
                first.add(&known, &mut fill);
                second.add(&differing(&known, true), &mut around);
                for at in 0..fill.len() {
                    if hole(at) {
                        prop_assert!(fill[at] == around[at]);
                    } else {
                        prop_assert!(fill[at] == known[at] || fill[at] == before[at]);
                    }
                }
            }
        }
    }
}
