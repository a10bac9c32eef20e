use super::*;
use proptest::prelude::*;

fn mask_of(width: usize, height: usize, boxes: &[(usize, usize, usize, usize)]) -> Mask {
    let mut mask = Mask::empty(width, height).unwrap();
    for &(x, y, width, height) in boxes {
        mask.fill_box(&PixelBox { x, y, width, height });
    }
    mask
}

/// What every plan must hold.
fn check(mask: &Mask, network: usize) -> Vec<Region> {
    let regions = check_these(mask, network, plan(mask, network).unwrap());
    assert!(regions.len() <= MOST_REGIONS);
    check_these(mask, network, plan_picture(mask, network));
    regions
}

fn plan_picture(mask: &Mask, network: usize) -> Vec<Region> {
    let plan = PicturePlan::new(mask, network).unwrap();
    let regions: Vec<_> = plan.regions().map(Result::unwrap).collect();
    assert_eq!(regions.len(), plan.count());
    regions
}

fn check_these(mask: &Mask, network: usize, regions: Vec<Region>) -> Vec<Region> {
    let mut owners = vec![0u8; mask.width() * mask.height()];
    for region in &regions {
        assert!(region.x + region.width <= mask.width());
        assert!(region.y + region.height <= mask.height());
        assert!(region.x.is_multiple_of(2) && region.y.is_multiple_of(2));
        let (right, bottom) = (region.area().right(), region.area().bottom());
        assert!(right.is_multiple_of(2) || right == mask.width());
        assert!(bottom.is_multiple_of(2) || bottom == mask.height());
        assert_eq!(region.network_width % SIDE_MULTIPLE, 0);
        assert_eq!(region.network_height % SIDE_MULTIPLE, 0);
        assert!(region.network_width >= network && region.network_height >= network);
        for y in 0..region.height {
            for x in 0..region.width {
                assert_eq!(region.holes.is_hole(x, y), mask.is_hole(region.x + x, region.y + y));
                if region.owned.is_hole(x, y) {
                    owners[(region.y + y) * mask.width() + region.x + x] += 1;
                }
            }
        }
    }
    for (at, &count) in owners.iter().enumerate() {
        let hole = mask.data()[at] != 0;
        assert_eq!(count, u8::from(hole), "pixel {} {}", at % mask.width(), at / mask.width());
    }
    regions
}

#[test]
fn scratches_and_dust_of_a_picture_are_seen_unscaled() {
    let mut mask = mask_of(1600, 900, &[(700, 300, 300, 200)]);
    (0..1600).for_each(|x| mask.fill_box(&PixelBox { x, y: x / 9, width: 1, height: 5 }));
    (0..40).for_each(|at| {
        mask.fill_box(&PixelBox { x: 40 * at, y: 520 + 7 * at, width: 9, height: 9 });
    });
    check(&mask, 256);
    let regions = plan_picture(&mask, 256);
    let (scaled, native): (Vec<_>, Vec<_>) = regions.iter().partition(|region| !region.is_native());
    assert_eq!(scaled.len(), 1, "the wide one");
    assert_eq!(scaled[0].owned.hole_pixels(), 300 * 200);
    assert!(native.len() > 13);
    // What fits a region as it is stays whole.
    let small = mask_of(1600, 900, &[(700, 300, 100, 4), (100, 100, 30, 30)]);
    assert_eq!(plan_picture(&small, 256), plan(&small, 256).unwrap());
}

#[test]
fn a_scratch_over_a_spot_is_seen_unscaled_but_there() {
    let (spot, scratch) = ((700, 300, 80, 80), (0, 338, 1600, 4));
    let mask = mask_of(1600, 900, &[spot, scratch]);
    check(&mask, 256);
    let regions = plan_picture(&mask, 256);
    let (near, far): (Vec<_>, Vec<_>) = regions
        .iter()
        .partition(|region| region.owned.is_hole(740 - region.x.min(740), 330 - region.y));
    assert_eq!(near.len(), 1);
    let pixels = near[0].owned.hole_pixels();
    assert!((80 * 80..80 * 80 + 4 * 80).contains(&pixels), "{pixels}");
    assert!(far.len() >= 12 && far.iter().all(|region| region.is_native()));
}

#[test]
fn no_hole_no_region() {
    assert!(plan(&Mask::empty(640, 480).unwrap(), 256).unwrap().is_empty());
}

#[test]
fn a_small_hole_is_seen_unscaled() {
    let regions = check(&mask_of(1920, 1080, &[(900, 500, 100, 60)]), 256);
    assert_eq!(regions.len(), 1);
    assert!(regions[0].is_native());
    assert_eq!(regions[0].network_holes, regions[0].holes);
    // The hole lies in the middle.
    assert_eq!((regions[0].x, regions[0].y), (822, 402));
}

#[test]
fn a_hole_in_the_corner_shifts_the_square_inside() {
    let regions = check(&mask_of(641, 481, &[(600, 460, 41, 21)]), 256);
    // One pixel more than the network's side: the hole reaches the odd last column and row.
    assert_eq!((regions[0].width, regions[0].height), (257, 257));
    assert_eq!(regions[0].x + regions[0].width, 641);
    let regions = check(&mask_of(640, 480, &[(600, 460, 40, 20)]), 256);
    assert!(regions[0].is_native());
}

#[test]
fn far_holes_stay_apart_and_near_ones_join() {
    let far = check(&mask_of(1920, 1080, &[(100, 100, 50, 50), (1700, 900, 50, 50)]), 256);
    assert_eq!(far.len(), 2);
    let near = check(&mask_of(1920, 1080, &[(100, 100, 50, 50), (190, 100, 50, 50)]), 256);
    assert_eq!(near.len(), 1);
}

#[test]
fn a_hole_wider_than_the_frame_is_high_gets_one_oblong_region() {
    let regions = check(&mask_of(1920, 1080, &[(10, 1000, 1900, 50)]), 256);
    assert_eq!(regions.len(), 1);
    let region = &regions[0];
    assert_eq!((region.width, region.height), (1920, 960));
    assert_eq!((region.network_width, region.network_height), (512, 256));
    let strip = check(&mask_of(4000, 20, &[(0, 0, 4000, 20)]), 256);
    assert_eq!((strip[0].network_width, strip[0].network_height), (1024, 256));
}

#[test]
fn noise_is_planned_in_bounded_work() {
    let (width, height) = (1921, 1079);
    let mut state = 1u32;
    let grey: Vec<u8> = (0..width * height)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 24 < 1 { 255 } else { 0 }
        })
        .collect();
    check(&Mask::from_grey(width, height, &grey).unwrap(), 256);
}

#[test]
fn scaling_a_mask_never_loses_a_hole() {
    for (from, to) in [((300, 300), (256, 256)), ((100, 70), (256, 256)), ((999, 512), (256, 128))]
    {
        for at in 0..50 {
            let (x, y) = (at * 37 % from.0, at * 53 % from.1);
            let mask = mask_of(from.0, from.1, &[(x, y, 1, 1)]);
            let scaled = mask.stretched(to.0, to.1).unwrap();
            // By the definition: pixel areas in exact fractions share some area.
            for v in 0..to.1 {
                for u in 0..to.0 {
                    let across = u * from.0 < (x + 1) * to.0 && (u + 1) * from.0 > x * to.0;
                    let down = v * from.1 < (y + 1) * to.1 && (v + 1) * from.1 > y * to.1;
                    assert_eq!(scaled.is_hole(u, v), across && down);
                }
            }
        }
    }
}

#[test]
fn whole_frames_only_where_the_network_can() {
    let whole = |width, height| plan_whole(&mask_of(width, height, &[(0, 0, 3, 3)])).unwrap();
    let region = whole(640, 384).unwrap();
    assert!(region.is_native());
    assert_eq!(region.owned.hole_pixels(), 9);
    assert!(whole(640, 480).is_none());
    assert!(whole(1024, 1024).is_some());
    assert!(whole(2048, 1024).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_hole_pixel_has_one_owner(
        width in 1usize..700,
        height in 1usize..500,
        boxes in prop::collection::vec((0usize..700, 0usize..500, 1usize..300, 1usize..90), 1..14),
        network in prop::sample::select(vec![128usize, 256]),
    ) {
        check(&mask_of(width, height, &boxes), network);
    }
}
