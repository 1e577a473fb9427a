// SPDX-License-Identifier: Apache-2.0
//! X.690 DER, as much as a public key needs: definite lengths, one level at a time.
//!
//! ```text
//!  tag  length (short: one byte; long: 0x80 + how many bytes follow)  content
//! ```

pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// The content of the element that `input` begins with, and what comes after it. `None`: it is another, or malformed.
pub(super) fn take(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short if short < 0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            // More than 64 KiB is no key; lengths that could be shorter are no DER.
            let value = match *bytes {
                [one] if one >= 0x80 => usize::from(one),
                [high, low] if high > 0 => usize::from(high) << 8 | usize::from(low),
                _ => return None,
            };
            (value, rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// An element. `content` is below 64 KiB.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a key is below 64 KiB").to_be_bytes();
    let head: &[u8] = match length {
        [0, short] if short < 0x80 => &[tag, short],
        [0, one] => &[tag, 0x81, one],
        [high, low] => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length_come_back() {
        for length in [0, 1, 127, 128, 255, 256, 60_000] {
            let content = vec![1; length];
            let bytes = [element(SEQUENCE, &content), vec![9]].concat();
            assert_eq!(take(SEQUENCE, &bytes), Some((&content[..], &[9][..])));
            assert_eq!(take(OID, &bytes), None);
        }
    }

    #[test]
    fn what_is_no_der_is_nothing() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x80], &[0x30, 0x81, 5], &[0x30, 0x83, 1, 0, 0]]
        {
            assert_eq!(take(SEQUENCE, bytes), None, "{bytes:?}");
        }
    }
}
