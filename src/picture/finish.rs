//! What makes a region's smooth fill one with edges and textures: all that comes after the network, in
//! its order, for whoever shows fills, measures them, or times it.

use super::continuation::Continuation;
use super::patches::Patches;
use super::{Detail, Region, Search};

/// Gives the fills of one region their detail, frame after frame. The default one leaves them as they
/// are.
#[derive(Debug, Default)]
pub struct Finish {
    continuation: Option<Continuation>,
    patches: Option<Patches>,
    detail: Option<Detail>,
}

impl Finish {
    /// For fills of this region: takes all memory that it needs.
    pub fn new(region: &Region, search: Search) -> Self {
        // Where the network's pixels are wider than the frame's, what is finer than they are is missed.
        let coarse = region.width > region.network_width || region.height > region.network_height;
        Self {
            continuation: Continuation::new(region),
            patches: Patches::new(region, search),
            detail: coarse.then(|| Detail::new(region, search)).flatten(),
        }
    }

    /// Goes on with what is plain around the holes in the network's `fill`, and makes the rest of known
    /// patches. `known` and `fill` are packed RGB of the network's size; of `known` only known pixels
    /// are read, of `fill` only holes.
    ///
    /// # Panics
    /// If their lengths are others.
    pub fn add(&mut self, known: &[u8], fill: &mut [u8]) {
        if let Some(continuation) = &mut self.continuation {
            continuation.add(known, fill);
        }
        if let Some(patches) = &mut self.patches {
            patches.add(known, fill);
        }
    }

    /// Whether it leaves all fills as they are: there is nothing to fill, or nothing to take.
    pub fn is_empty(&self) -> bool {
        self.continuation.is_none() && self.patches.is_none() && self.detail.is_none()
    }

    /// What is finer than the network's pixels: for [`Cut::paste`](super::Cut::paste), at the region's
    /// size.
    pub fn detail(&mut self) -> Option<&mut Detail> {
        self.detail.as_mut()
    }

    /// Goes on from other masks' regions in the same frames, first from the nearest: where they overlap,
    /// each has a fill, and its own is most likely the one that was shown.
    pub fn follow_all<'a>(
        &mut self,
        region: &Region,
        before: impl Iterator<Item = (&'a Region, &'a Self)>,
    ) {
        let mut before: Vec<_> = before.collect();
        before.sort_by_key(|(other, _)| {
            let centre =
                |region: &Region| (2 * region.x + region.width, 2 * region.y + region.height);
            let (mine, theirs) = (centre(region), centre(other));
            mine.0.abs_diff(theirs.0) + mine.1.abs_diff(theirs.1)
        });
        before.iter().for_each(|(_, before)| self.follow(before));
    }

    fn follow(&mut self, before: &Self) {
        let both = self.continuation.as_mut().zip(before.continuation.as_ref());
        if let Some((continuation, before)) = both {
            continuation.follow(before);
        }
        if let Some((patches, before)) = self.patches.as_mut().zip(before.patches.as_ref()) {
            patches.follow(before);
        }
        if let Some((detail, before)) = self.detail.as_mut().zip(before.detail.as_ref()) {
            detail.follow(before);
        }
    }
}
