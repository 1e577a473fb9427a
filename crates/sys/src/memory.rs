// SPDX-License-Identifier: Apache-2.0
//! memcpy(3), memmove(3) and memcmp(3) for short pieces.
//!
//! musl's copy begins with `rep movsq` and ends byte by byte, however short the piece is (forty nanoseconds for a word),
//! and its comparison looks at one byte at a time. A run with a seccomp profile copies 4,500 times, four of five times
//! no more than 32 bytes: that was a fifth of its time outside of the kernel. Here both ends of a short piece are moved at
//! once, and may overlap:
//!
//! ```text
//!  length 11    [first 8 bytes ]
//!                     [last 8 bytes ]
//! ```
//!
//! The C library's are replaced in static programs for x86-64 only, where `rep movsb` is fast for what is longer.

/// As memcpy(3). Pieces of at most 32 bytes may overlap, longer ones if `to` comes before `from`.
///
/// # Safety
///
/// `from` can be read and `to` be written for `length` bytes.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    match length {
        0 => {}
        // SAFETY: the caller's, and the piece is as long as one and no longer than two of these.
        1 => unsafe { copy_ends::<u8>(to, from, length) },
        // SAFETY: as above.
        2..4 => unsafe { copy_ends::<u16>(to, from, length) },
        // SAFETY: as above.
        4..8 => unsafe { copy_ends::<u32>(to, from, length) },
        // SAFETY: as above.
        8..16 => unsafe { copy_ends::<u64>(to, from, length) },
        // SAFETY: as above.
        16..=32 => unsafe { copy_ends::<u128>(to, from, length) },
        // SAFETY: the caller's, and the direction flag is clear, as the ABI has it at every call.
        _ => unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        },
    }
}

/// The first and the last `T` of a piece that is no shorter than one and no longer than two.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let rest = length - size_of::<T>();
    // SAFETY: the piece has at least one `T` to read.
    let first = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: `rest` is in the piece.
    let last = unsafe { from.add(rest) };
    // SAFETY: as many bytes as a `T` has are behind it.
    let last = unsafe { last.cast::<T>().read_unaligned() };
    // SAFETY: as for reading.
    unsafe { to.cast::<T>().write_unaligned(first) };
    // SAFETY: as for reading.
    let end = unsafe { to.add(rest) };
    // SAFETY: as for reading.
    unsafe { end.cast::<T>().write_unaligned(last) };
}

/// As memmove(3).
///
/// # Safety
///
/// As [`copy`]'s.
#[inline(always)]
unsafe fn shift(to: *mut u8, from: *const u8, length: usize) {
    let mut rest = length;
    if length > 32 && (to as usize).wrapping_sub(from as usize) < length {
        // `to` lies within: from the end.
        while rest >= 8 {
            rest -= 8;
            // SAFETY: eight bytes from `rest` on are in the piece.
            let word = unsafe { from.add(rest) };
            // SAFETY: as above.
            let word = unsafe { word.cast::<u64>().read_unaligned() };
            // SAFETY: as above.
            let place = unsafe { to.add(rest) };
            // SAFETY: as above.
            unsafe { place.cast::<u64>().write_unaligned(word) };
        }
    }
    // SAFETY: the caller's; what overlaps is short, or `to` comes before `from`.
    unsafe { copy(to, from, rest) };
}

/// As memcmp(3).
///
/// # Safety
///
/// Both can be read for `length` bytes.
#[inline(always)]
unsafe fn compare(left: *const u8, right: *const u8, length: usize) -> i32 {
    let mut at = 0;
    while at + 8 <= length {
        // SAFETY: eight bytes from `at` on are there, in both.
        let [left, right] = [left, right].map(|start| unsafe { word(start, at) });
        if left != right {
            return if left < right { -1 } else { 1 };
        }
        at += 8;
    }
    while at < length {
        // SAFETY: `at` is below the length, in both.
        let [left, right] = [left, right].map(|start| unsafe { byte(start, at) });
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        at += 1;
    }
    0
}

/// Eight bytes that compare as a number as they do one by one.
#[inline(always)]
unsafe fn word(start: *const u8, at: usize) -> u64 {
    // SAFETY: the caller's.
    let here = unsafe { start.add(at) };
    // SAFETY: the caller's.
    u64::from_be(unsafe { here.cast::<u64>().read_unaligned() })
}

#[inline(always)]
unsafe fn byte(start: *const u8, at: usize) -> u8 {
    // SAFETY: the caller's.
    let here = unsafe { start.add(at) };
    // SAFETY: the caller's.
    unsafe { here.read() }
}

/// The names that compiled code calls.
#[cfg(not(test))]
mod symbols {
    /// # Safety
    ///
    /// As [`super::copy`].
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { super::copy(to, from, length) };
        to
    }

    /// # Safety
    ///
    /// As [`super::shift`].
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { super::shift(to, from, length) };
        to
    }

    /// # Safety
    ///
    /// As [`super::compare`].
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
        // SAFETY: the caller's.
        unsafe { super::compare(left, right, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_piece_is_copied() {
        let source: Vec<u8> = (0..=u8::MAX).collect();
        for length in 0..200 {
            let mut target = vec![0xee; 202];
            // SAFETY: both have 200 bytes behind their second one.
            unsafe { copy(target[1..].as_mut_ptr(), source[3..].as_ptr(), length) };
            assert_eq!(target[1..=length], source[3..3 + length]);
            assert_eq!((target[0], target[length + 1]), (0xee, 0xee), "{length}");
        }
    }

    #[test]
    fn a_piece_that_overlaps_itself_arrives_whole() {
        for length in 0..100 {
            for (to, from) in [(5, 0), (0, 5), (40, 0), (0, 40), (1, 0), (0, 1), (8, 0)] {
                let mut found: Vec<u8> = (0..150).collect();
                let mut wanted = found.clone();
                wanted.copy_within(from..from + length, to);
                let start = found.as_mut_ptr();
                let (target, source) = (start.wrapping_add(to), start.wrapping_add(from));
                // SAFETY: 40 and 100 are less than 150.
                unsafe { shift(target, source, length) };
                assert_eq!(found, wanted, "{length} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        for length in 1..40 {
            let left = vec![0x80; length];
            for at in 0..length {
                let mut right = left.clone();
                right[at] = 0x7f;
                right[at + 1..].fill(0xff);
                // SAFETY: both have the length.
                let order = |a: &[u8], b: &[u8]| unsafe { compare(a.as_ptr(), b.as_ptr(), length) };
                assert!(order(&left, &right) > 0 && order(&right, &left) < 0, "{length} {at}");
                assert_eq!(order(&right, &right), 0);
            }
        }
    }
}
