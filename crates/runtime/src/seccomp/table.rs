// SPDX-License-Identifier: Apache-2.0
//! System call numbers by name. `syscalls.tbl` is read at compile time, into rows without pointers: nothing is
//! relocated or parsed when the program starts.

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

static ROWS: [Row; COUNT] = rows();

/// The numbers of a system call, by architecture.
#[derive(Clone, Copy)]
pub(super) struct Numbers([u32; COLUMNS]);

impl Numbers {
    pub(super) fn of(self, architecture: super::Architecture) -> Option<u32> {
        Some(self.0[architecture as usize]).filter(|number| *number != NONE)
    }
}

/// Finds a name; the table is sorted.
pub(super) fn find(name: &str) -> Option<Numbers> {
    let found = ROWS.binary_search_by(|row| {
        let start = usize::from(row.start);
        TEXT[start..start + usize::from(row.length)].cmp(name.as_bytes())
    });
    found.ok().map(|index| Numbers(ROWS[index].numbers))
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
    fn the_table_is_sorted_and_found_in() {
        let names: Vec<_> = names().collect();
        assert!(names.is_sorted() && names.len() > 400);
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
        assert!(find("").is_none() && find("no_such_call").is_none());
    }

    #[test]
    fn well_known_numbers() {
        let numbers = find("read").unwrap();
        assert_eq!(
            [
                Architecture::X86_64,
                Architecture::X86,
                Architecture::X32,
                Architecture::Aarch64,
                Architecture::Arm
            ]
            .map(|architecture| numbers.of(architecture)),
            [Some(0), Some(3), Some(0x4000_0000), Some(63), Some(3)]
        );
        assert_eq!(find("open").unwrap().of(Architecture::Aarch64), None);
        assert_eq!(find("openat2").unwrap().of(Architecture::Aarch64), Some(437));
    }
}
