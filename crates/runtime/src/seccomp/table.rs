// SPDX-License-Identifier: Apache-2.0
//! System call numbers by name. `syscalls.tbl` is read at compile time, into rows without pointers: nothing is
//! relocated or parsed when the program starts.
//!
//! ```text
//!  hash("read") ─► PLACES[…] ─► ROWS[…] ─► name in TEXT: the same? its numbers; another, or none? the next place, or no such call
//! ```
//! A profile has four hundred names: a search by halves would compare each with nine others.

const TEXT: &[u8] = include_bytes!("syscalls.tbl");
const COLUMNS: usize = 5;
const NONE: u32 = u32::MAX;
const COUNT: usize = count();

/// Where the name is in [`TEXT`], and its numbers in the order of [`super::Architecture`].
#[derive(Clone, Copy)]
struct Row {
    start: u16,
    length: u16,
    numbers: [u32; COLUMNS],
}

static ROWS: [Row; COUNT] = ALL;
const ALL: [Row; COUNT] = rows();

/// More than twice as many as there are names.
const SIZE: usize = 1024;
/// For a name's hash, and those behind it, the row; none ends them.
static PLACES: [u16; SIZE] = places();
const NOBODY: u16 = u16::MAX;

/// A system call, by its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call(usize);

impl Call {
    /// Of a name that is there, at compile time.
    pub(super) const fn named(name: &str) -> Self {
        let mut index = 0;
        while !is(ALL[index], name.as_bytes()) {
            index += 1;
        }
        Self(index)
    }

    pub(super) fn number(self, architecture: super::Architecture) -> Option<u32> {
        Some(ROWS[self.0].numbers[architecture as usize]).filter(|number| *number != NONE)
    }
}

const fn is(row: Row, name: &[u8]) -> bool {
    let (start, length) = (row.start as usize, row.length as usize);
    let mut at = 0;
    while at < length && at < name.len() && TEXT[start + at] == name[at] {
        at += 1;
    }
    at == length && at == name.len()
}

/// Finds a name.
pub(super) fn find(name: &str) -> Option<Call> {
    let mut place = hash(name.as_bytes());
    loop {
        let index = usize::from(PLACES[place]);
        if is(*ROWS.get(index)?, name.as_bytes()) {
            return Some(Call(index));
        }
        place = (place + 1) % SIZE;
    }
}

/// FNV-1a, for one of the places.
const fn hash(name: &[u8]) -> usize {
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ hash >> 16) as usize % SIZE
}

#[expect(clippy::cast_possible_truncation, reason = "the build fails below if there are so many")]
const fn places() -> [u16; SIZE] {
    let mut places = [NOBODY; SIZE];
    let mut index = 0;
    while index < COUNT {
        let (_, from) = TEXT.split_at(ALL[index].start as usize);
        let (name, _) = from.split_at(ALL[index].length as usize);
        let mut place = hash(name);
        while places[place] != NOBODY {
            place = (place + 1) % SIZE;
        }
        places[place] = index as u16;
        index += 1;
    }
    places
}

/// Lines that are no comments.
const fn count() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#' {
            count += 1;
        }
        at = next_line(at);
    }
    count
}

const fn next_line(mut at: usize) -> usize {
    while TEXT[at] != b'\n' {
        at += 1;
    }
    at + 1
}

const fn rows() -> [Row; COUNT] {
    let mut rows = [Row { start: 0, length: 0, numbers: [NONE; COLUMNS] }; COUNT];
    let (mut index, mut at) = (0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#' {
            rows[index] = row(at);
            index += 1;
        }
        at = next_line(at);
    }
    rows
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the table is shorter than 64 KiB, or the build fails below"
)]
const fn row(start: usize) -> Row {
    let mut at = start;
    while TEXT[at] != b' ' {
        at += 1;
    }
    let mut row = Row { start: start as u16, length: (at - start) as u16, numbers: [NONE; COLUMNS] };
    let mut column = 0;
    while column < COLUMNS {
        at += 1;
        if TEXT[at] == b'-' {
            at += 1;
        } else {
            let mut number = 0;
            while TEXT[at] != b' ' && TEXT[at] != b'\n' {
                number = number * 10 + (TEXT[at] - b'0') as u32;
                at += 1;
            }
            row.numbers[column] = number;
        }
        column += 1;
    }
    row
}

const _: () = assert!(2 * COUNT < SIZE, "most names are found at once");
const _: () = assert!(TEXT.len() < u16::MAX as usize, "offsets into the table are 16 bits wide");

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| {
        let start = usize::from(row.start);
        std::str::from_utf8(&TEXT[start..start + usize::from(row.length)]).unwrap()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Architecture;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<_> = names().collect();
        assert!(names.is_sorted() && names.len() > 400);
        for (row, name) in names.iter().enumerate() {
            assert_eq!(find(name), Some(Call(row)), "{name}");
            assert_eq!(Call::named(name), Call(row), "{name}");
            let longer = format!("{name}x");
            assert_eq!(find(&longer).is_some(), names.contains(&longer.as_str()), "{longer}");
        }
        assert!(find("").is_none() && find("no_such_call").is_none());
    }

    #[test]
    fn well_known_numbers() {
        let read = find("read").unwrap();
        assert_eq!(
            [
                Architecture::X86_64,
                Architecture::X86,
                Architecture::X32,
                Architecture::Aarch64,
                Architecture::Arm
            ]
            .map(|architecture| read.number(architecture)),
            [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3)]
        );
        assert_eq!(find("open").unwrap().number(Architecture::Aarch64), None);
        assert_eq!(find("openat2").unwrap().number(Architecture::Aarch64), Some(437));
    }
}
