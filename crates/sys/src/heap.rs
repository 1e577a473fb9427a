// SPDX-License-Identifier: Apache-2.0
//! Memory for a program that lives for milliseconds and has one thread.
//!
//! musl's allocator maps and unmaps pages one by one, which made a tenth of all system calls of a container's start.
//! This one takes 128 KiB at a time and gives nothing back: what is freed waits, by its size rounded up to a power of
//! two, for the next of that size. What is larger than half a piece is a mapping of its own and goes back at once, so a
//! process that stays (the monitor) does not grow with what passes through it.
//!
//! ```text
//!  piece  [16|64|16|1024|………………next──► …………………end]        free  16 → a → b     32 →     64 → c    …
//! ```

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

const PIECE: usize = 128 << 10;
const LARGEST: usize = PIECE / 2;
const SMALLEST: usize = 16;
/// 16, 32, … 65536.
const SIZES: usize = 13;

/// The allocator; `#[global_allocator]` of one program.
#[derive(Debug)]
pub struct Heap {
    busy: AtomicBool,
    pieces: UnsafeCell<Pieces>,
}

#[derive(Debug)]
struct Pieces {
    /// What was freed, by size: each holds the address of the next.
    free: [*mut u8; SIZES],
    next: usize,
    end: usize,
}

// SAFETY: `pieces` is only touched by whoever has set `busy` (see `with`).
unsafe impl Sync for Heap {}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// Empty, without a piece.
    pub const fn new() -> Self {
        let pieces = Pieces { free: [null_mut(); SIZES], next: 0, end: 0 };
        Self { busy: AtomicBool::new(false), pieces: UnsafeCell::new(pieces) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pieces) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` was free and is ours now, and `work` cannot come here again: it allocates nothing.
        let done = work(unsafe { &mut *self.pieces.get() });
        self.busy.store(false, Ordering::Release);
        done
    }
}

/// What a layout is rounded up to, and which list that is; `None` for a mapping of its own.
fn size_of(layout: Layout) -> Option<(usize, usize)> {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    (size <= LARGEST).then(|| (size, (size / SMALLEST).trailing_zeros() as usize))
}

impl Pieces {
    fn take(&mut self, size: usize, list: usize) -> *mut u8 {
        let first = self.free[list];
        if !first.is_null() {
            // SAFETY: everything in a list is free, of at least 16 bytes, aligned to its size, and begins with a pointer.
            self.free[list] = unsafe { first.cast::<*mut u8>().read() };
            return first;
        }
        // Aligned to its size, as every layout that was rounded to it may ask.
        let mut start = self.next.next_multiple_of(size);
        if self.next == 0 || start + size > self.end {
            let piece = map(PIECE);
            if piece.is_null() {
                return piece;
            }
            start = (piece as usize).next_multiple_of(size);
            self.end = piece as usize + PIECE;
        }
        self.next = start + size;
        std::ptr::with_exposed_provenance_mut(start)
    }

    fn give(&mut self, memory: *mut u8, list: usize) {
        // SAFETY: the caller owned it until now, it has at least 16 bytes, and is aligned to its size.
        unsafe { memory.cast::<*mut u8>().write(self.free[list]) };
        self.free[list] = memory;
    }
}

// SAFETY: `alloc` returns memory of at least the layout's size and alignment (sizes are rounded up to a power of two at
// least the alignment, and lie at multiples of themselves; mappings lie at pages) that nobody else has, or null.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match size_of(layout) {
            Some((size, list)) => self.with(|pieces| pieces.take(size, list)),
            None if layout.align() > 4096 => null_mut(),
            None => map(layout.size()),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match size_of(layout) {
            Some((_, list)) => self.with(|pieces| pieces.give(memory, list)),
            None => unmap(memory, layout.size()),
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the alignment is a valid layout's; the caller promises a size that does not overflow with it.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if size_of(layout).is_some_and(|old| Some(old) == size_of(new)) {
            return memory;
        }
        // SAFETY: the caller promises that the new size is not zero.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are valid for the smaller of the two sizes, and the new one belongs to nobody else.
            unsafe { std::ptr::copy_nonoverlapping(memory, moved, layout.size().min(new_size)) };
            // SAFETY: `memory` came from here with this layout, and the caller gives it up.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

/// Fresh pages, or null.
fn map(size: usize) -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let mapped = unsafe { libc::mmap(null_mut(), size, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { null_mut() } else { mapped.cast() }
}

fn unmap(memory: *mut u8, size: usize) {
    // SAFETY: exactly a mapping that `map` made; its owner gives it up.
    unsafe { libc::munmap(memory.cast(), size) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_distinct_aligned_kept_when_it_grows_and_used_again() {
        let heap = Heap::new();
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let mut taken = Vec::new();
        for (index, (size, align)) in
            [(1, 1), (16, 8), (17, 16), (100, 64), (4096, 4096), (70_000, 8), (300_000, 16), (5, 4)]
                .into_iter()
                .cycle()
                .take(400)
                .enumerate()
        {
            let layout = layout(size, align);
            // SAFETY: no size is zero.
            let memory = unsafe { heap.alloc(layout) };
            assert!(!memory.is_null() && (memory as usize).is_multiple_of(align));
            // SAFETY: just allocated with this size.
            unsafe { memory.write_bytes(index as u8, size) };
            taken.push((memory, layout, index as u8));
        }
        for (memory, old, mark) in taken {
            // SAFETY: allocated above with that layout, and not given back yet.
            let grown = unsafe { heap.realloc(memory, old, old.size() * 3) };
            // SAFETY: it is longer than that now, and its beginning was written above.
            let kept = unsafe { std::slice::from_raw_parts(grown, old.size()) };
            assert!(kept.iter().all(|byte| *byte == mark));
            // SAFETY: reallocated just now to that size.
            unsafe { heap.dealloc(grown, layout(old.size() * 3, old.align())) };
        }
        // SAFETY: no size is zero.
        let first = unsafe { heap.alloc(layout(48, 8)) };
        // SAFETY: just allocated.
        unsafe { heap.dealloc(first, layout(48, 8)) };
        // SAFETY: no size is zero.
        assert_eq!(unsafe { heap.alloc(layout(33, 8)) }, first);
    }
}
