//! Memory of frames, used again and again.
//!
//! A camera's frames are all of one size, and only a few are on their way at any time. So a frame's
//! bytes go back to where they were taken from as soon as nobody looks at them any more, whichever
//! way the frame went. The other obvious way, handing empty frames back from the outputs, would
//! have to be thought of at every place where a frame may end: dropped, kept back, in an error.
//!
//! Hazard: what is taken from a pool still holds an older frame, and not a cleared one. Whoever
//! takes it writes every byte, or gives it back.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As many as may be on their way at once: being taken, filled and written, waiting before each
/// of these, and looked at on the page. What comes back beyond that is freed.
const MOST: usize = 8;

/// Where bytes come from, and go back to when their last owner is gone.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Vec<Arc<Vec<u8>>>>>);

impl Pool {
    /// So many bytes, that hold whatever they held before.
    pub fn bytes(&self, length: usize) -> Bytes {
        let mut kept = self.lock();
        if kept.capacity() == 0 {
            // All at once with the first. What is not needed is never touched, and no more than an
            // address.
            kept.extend((0..MOST).map(|_| Arc::new(Vec::with_capacity(length))));
        }
        drop(kept);
        let mut bytes = self.empty();
        bytes.vector().resize(length, 0);
        bytes
    }

    /// No bytes yet, with room for what was there before.
    pub fn empty(&self) -> Bytes {
        let kept = self.lock().pop();
        Bytes { data: Some(kept.unwrap_or_default()), home: Some(self.clone()) }
    }

    fn keep(&self, data: Arc<Vec<u8>>) {
        let mut kept = self.lock();
        if kept.len() < MOST {
            kept.push(data);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a picture. A clone shares them; whoever writes into shared bytes gets a copy first.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// There until they go home.
    data: Option<Arc<Vec<u8>>>,
    home: Option<Pool>,
}

impl Bytes {
    /// To be written into.
    pub fn write(&mut self) -> &mut [u8] {
        self.vector()
    }

    /// To be written into, and made longer or shorter. Bytes that are new are zero.
    pub fn vector(&mut self) -> &mut Vec<u8> {
        if self.data.as_mut().is_none_or(|data| Arc::get_mut(data).is_none()) {
            let mut copy = self.home.as_ref().map_or_else(|| Self::from(Vec::new()), Pool::empty);
            if let Some(copy) = copy.data.as_mut().and_then(Arc::get_mut) {
                copy.clear();
                copy.extend_from_slice(self);
            }
            *self = copy;
        }
        // Nobody else has it now, so this copies nothing.
        Arc::make_mut(self.data.get_or_insert_default())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(data: Vec<u8>) -> Self {
        Self { data: Some(Arc::new(data)), home: None }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.data.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let (Some(mut data), Some(home)) = (self.data.take(), &self.home)
            && Arc::get_mut(&mut data).is_some()
        {
            home.keep(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_its_last_owner_is_gone() {
        let pool = Pool::default();
        let first = pool.bytes(100);
        let place = first.as_ptr();
        let second = first.clone();
        assert_eq!(second.as_ptr(), place, "a clone shares");
        drop(first);
        assert_ne!(pool.bytes(100).as_ptr(), place, "the clone still has it");
        drop(second);
        assert_eq!(pool.bytes(50).as_ptr(), place);
        assert_eq!(pool.bytes(50).len(), 50);
    }

    #[test]
    fn writing_leaves_a_clone_as_it_was() {
        for mut bytes in [Pool::default().bytes(3), vec![0; 3].into()] {
            let clone = bytes.clone();
            bytes.write().fill(7);
            assert_eq!((&*bytes, &*clone), (&[7; 3][..], &[0; 3][..]));
        }
    }

    #[test]
    fn only_so_much_is_kept() {
        let pool = Pool::default();
        let taken: Vec<Bytes> = (0..3 * MOST).map(|_| pool.bytes(10)).collect();
        drop(taken);
        assert_eq!(pool.0.lock().unwrap().len(), MOST);
    }
}
