//! The memory of one block.
//!
//! It is mapped, not allocated: of what is freed in this size glibc keeps much, for each thread anew, so that after some
//! uploads the process would be several times as large as what is in flight.

use std::ops::DerefMut;

use bytes::{Buf as _, Bytes};
use memmap2::MmapMut;

/// Memory that is filled from its beginning.
pub(super) struct Block {
    memory: Box<dyn DerefMut<Target = [u8]> + Send>,
    filled: usize,
}

impl Block {
    /// Room for `size` bytes; a page counts only when something is in it.
    pub(super) fn new(size: usize) -> Self {
        Self {
            memory: match MmapMut::map_anon(size) {
                Ok(mapped) => Box::new(mapped),
                // The allocator knows how to fail.
                Err(_) => Box::new(vec![0; size]),
            },
            filled: 0,
        }
    }

    /// Takes as much of `part` as there is room for.
    pub(super) fn take(&mut self, part: &mut Bytes) {
        let room = &mut self.memory[self.filled..];
        let taken = room.len().min(part.len());
        room[..taken].copy_from_slice(&part[..taken]);
        part.advance(taken);
        self.filled += taken;
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.filled]
    }
}
