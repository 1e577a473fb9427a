// SPDX-License-Identifier: Apache-2.0
//! RFC 7468: text around binary. As much of it as keys need: no headers, one block or several.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What stands between `-----BEGIN ` and `-----`.
    pub label: String,
    /// What is inside.
    pub bytes: Vec<u8>,
}

/// The first block of a text, whatever stands in front of it.
pub(super) fn first(text: &[u8]) -> Option<Block> {
    let text = std::str::from_utf8(text).ok()?;
    let (label, rest) = text.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let inside = rest.split_once(&format!("-----END {label}-----"))?.0;
    let packed: String = inside.split_whitespace().collect();
    Some(Block { label: label.to_owned(), bytes: STANDARD.decode(packed).ok()? })
}

/// With lines of 64 letters.
pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let packed = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = packed.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_and_written() {
        let text = encode("PUBLIC KEY", &[7; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        let around = format!("a note\n{text}another\n");
        let block = Block { label: "PUBLIC KEY".to_owned(), bytes: vec![7; 100] };
        assert_eq!(first(around.as_bytes()), Some(block));
        for broken in ["", "-----BEGIN X-----\nAA==\n", "-----BEGIN X-----\n!\n-----END X-----\n"] {
            assert_eq!(first(broken.as_bytes()), None, "{broken}");
        }
    }
}
