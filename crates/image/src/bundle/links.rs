// SPDX-License-Identifier: Apache-2.0
//! Which names were of one file, as far as a description tells. mtree(5) has no word for it: names with the same facts
//! are of one file if there are as many of them as that file had (`nlink`), and may be of several if there are more.
//!
//! ```text
//!  a nlink=2 size=5 …    one file: a, b        x nlink=2 size=0 …    y nlink=2 size=0 …
//!  b nlink=2 size=5 …                          u nlink=2 size=0 …    v nlink=2 size=0 …    x with y? with u?
//! ```
//! Pure.

use std::collections::HashMap;

use super::mtree::{Facts, Node};

/// How often facts of files with several names are told.
pub(super) struct Links<'a>(HashMap<&'a Facts, u64>);

impl<'a> Links<'a> {
    /// Those of all that is in `root`.
    pub(super) fn of(root: &'a Node) -> Self {
        let mut links = Self(HashMap::new());
        links.collect(root);
        links
    }

    fn collect(&mut self, node: &'a Node) {
        for child in node.children.values() {
            if child.facts.kind != "dir" && child.facts.nlink > 1 {
                *self.0.entry(&child.facts).or_default() += 1;
            }
            self.collect(child);
        }
    }

    /// Whether all names with these facts were names of one file.
    pub(super) fn are_told_apart(&self, facts: &Facts) -> bool {
        self.0.get(facts).is_none_or(|names| *names <= facts.nlink)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mtree::parse;
    use super::*;

    #[test]
    fn more_names_than_a_file_had_are_names_of_several() {
        let text = "\
            . type=dir nlink=2\n\
            a type=file nlink=2 size=5\nb type=file nlink=2 size=5\n\
            u type=file nlink=2 size=0\nv type=file nlink=2 size=0\n\
            x type=file nlink=2 size=0\ny type=file nlink=2 size=0\n..\n";
        let tree = parse(text.as_bytes()).unwrap();
        let links = Links::of(&tree);
        assert!(links.are_told_apart(&tree.children[std::ffi::OsStr::new("a")].facts));
        assert!(!links.are_told_apart(&tree.children[std::ffi::OsStr::new("x")].facts));
    }
}
