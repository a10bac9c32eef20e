//! What both patch-based fillers need to know about square patches. A patch is named by its top
//! left pixel's number in reading order.

use crate::picture::{KNOWN, Mask};

/// `[height, width]`: whether the `side x side` patch there lies in the picture and holds no hole.
pub(super) fn whole_patches(mask: &Mask, side: usize) -> Vec<bool> {
    let (width, height) = (mask.width(), mask.height());
    let mut whole = vec![false; width * height];
    for y in 0..(height + 1).saturating_sub(side) {
        for x in 0..(width + 1).saturating_sub(side) {
            let known = |row: usize| mask.row(row)[x..x + side].iter().all(|&hole| hole == KNOWN);
            whole[y * width + x] = (y..y + side).all(known);
        }
    }
    whole
}
