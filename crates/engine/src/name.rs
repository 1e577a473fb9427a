// SPDX-License-Identifier: Apache-2.0
//! Ids and names: 64 random hex digits; `[a-zA-Z0-9][a-zA-Z0-9_.-]*` as docker and podman have it, or a made-up
//! `adjective_noun`.

use std::fs::File;
use std::io::Read as _;

use crate::{Error, ErrorKind, Result, Wrap as _};

const ADJECTIVES: [&str; 48] = [
    "able", "amber", "ample", "apt", "bold", "brave", "brief", "bright", "brisk", "calm", "civil", "clear",
    "deep", "eager", "early", "exact", "fair", "fleet", "fond", "frank", "free", "gentle", "glad", "golden",
    "grand", "happy", "hardy", "jolly", "keen", "kind", "light", "lively", "lucid", "merry", "neat", "noble",
    "patient", "plain", "proud", "quick", "quiet", "ready", "rosy", "steady", "sunny", "swift", "warm",
    "witty",
];

const NOUNS: [&str; 48] = [
    "acorn", "anchor", "aspen", "badger", "beacon", "birch", "bison", "brook", "cedar", "cliff", "comet",
    "crane", "delta", "dune", "ember", "falcon", "fern", "finch", "fjord", "glade", "harbor", "hazel",
    "heron", "island", "juniper", "lagoon", "lark", "linden", "lynx", "maple", "marten", "meadow", "orchid",
    "osprey", "otter", "pebble", "pine", "plover", "quartz", "raven", "reef", "river", "robin", "sparrow",
    "spruce", "thistle", "tundra", "willow",
];

/// Bytes from the kernel's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .wrap(|| "read /dev/urandom")?;
    Ok(bytes)
}

/// A new container's id.
pub fn new_id() -> Result<String> {
    Ok(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `quiet_otter`; from the second attempt on with a number, so that 2304 names are not the end.
pub(crate) fn invent(attempt: u32) -> Result<String> {
    let [a, b, c, d] = random::<4>()?;
    let (adjective, noun) = (ADJECTIVES[usize::from(a) % 48], NOUNS[usize::from(b) % 48]);
    Ok(match attempt {
        0 => format!("{adjective}_{noun}"),
        _ => format!("{adjective}_{noun}{}", u16::from_le_bytes([c, d])),
    })
}

/// Refuses what cannot be a file name, an argument and a host name part alike.
pub fn check(name: &str) -> Result<()> {
    let head = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let tail = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if head && tail && name.len() <= 128 {
        return Ok(());
    }
    let shown: String = name.chars().take(130).collect();
    Err(Error::new(ErrorKind::Usage, format!("name {shown:?} is not allowed")).with_hint(
        "a name has up to 128 of the characters a-z A-Z 0-9 _ . - and begins with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hex_digits_and_differ() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert!(one.len() == 64 && one.bytes().all(|b| b.is_ascii_hexdigit()) && one != two);
    }

    #[test]
    fn invented_names_are_allowed_names() {
        for attempt in 0..2 {
            check(&invent(attempt).unwrap()).unwrap();
        }
    }

    #[test]
    fn names_that_steer_paths_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "-d", "a b", "a\n", "ä", &"a".repeat(129)] {
            assert!(check(name).is_err(), "{name:?}");
        }
        check("web-1.test_x").unwrap();
    }
}
