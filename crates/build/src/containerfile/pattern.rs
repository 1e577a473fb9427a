// SPDX-License-Identifier: Apache-2.0
//! Patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and a backslash that takes a character as it is
//! (POSIX.1-2017 XCU 2.13, without brackets). Every match is one pass over the value with the set of places in the
//! pattern where one could be, so no pattern takes longer than its length times the value's.

use super::Fuel;

/// One element of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Any,
    One,
    Literal(char),
}

/// Which of several matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Shortest,
    Longest,
}

/// A pattern, and what matching it costs.
#[derive(Debug)]
pub(super) struct Pattern<'f> {
    elements: Vec<Element>,
    fuel: &'f Fuel,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A backslash in front of a character that needs none.
    Escape(char),
    /// See [`Fuel`].
    TooMuch,
}

impl<'f> Pattern<'f> {
    pub(super) fn parse(text: &str, fuel: &'f Fuel) -> Result<Self, Failure> {
        let mut elements = Vec::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            elements.push(match c {
                '*' => Element::Any,
                '?' => Element::One,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Element::Literal(escaped),
                    other => return Err(Failure::Escape(other.unwrap_or('\\'))),
                },
                c => Element::Literal(c),
            });
        }
        Ok(Self { elements, fuel })
    }

    /// The value without the prefix that matches.
    pub(super) fn trim_prefix(&self, value: &str, extent: Extent) -> Result<String, Failure> {
        let characters: Vec<char> = value.chars().collect();
        let end = self.matches_at_start(&characters, extent)?;
        Ok(characters[end.unwrap_or(0)..].iter().collect())
    }

    /// The value without the suffix that matches: the same, backwards.
    pub(super) fn trim_suffix(&self, value: &str, extent: Extent) -> Result<String, Failure> {
        let reversed = Self { elements: self.elements.iter().rev().copied().collect(), fuel: self.fuel };
        let characters: Vec<char> = value.chars().rev().collect();
        let end = reversed.matches_at_start(&characters, extent)?;
        Ok(characters[end.unwrap_or(0)..].iter().rev().collect())
    }

    /// The value with the first match replaced, or all of them, the longest from the left.
    pub(super) fn replace(&self, value: &str, with: &str, all: bool) -> Result<String, Failure> {
        let characters: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        let mut behind_match = None;
        while at <= characters.len() {
            let Some((start, end)) = self.find(&characters, at)? else { break };
            result.extend(&characters[at..start]);
            // An empty match directly behind another is none.
            if start < end || behind_match != Some(start) {
                self.fuel.burn(with.len()).ok_or(Failure::TooMuch)?;
                result.push_str(with);
            }
            at = end;
            behind_match = Some(end);
            if start == end {
                result.extend(characters.get(at));
                at += 1;
            }
            if !all {
                break;
            }
        }
        result.extend(characters.get(at..).unwrap_or_default());
        Ok(result)
    }

    fn matches_at_start(&self, value: &[char], extent: Extent) -> Result<Option<usize>, Failure> {
        let mut active = vec![false; self.elements.len() + 1];
        self.enter(&mut active, 0);
        let mut found = None;
        for end in 0..=value.len() {
            if active[self.elements.len()] {
                found = Some(end);
                if extent == Extent::Shortest {
                    break;
                }
            }
            let Some(&c) = value.get(end) else { break };
            active = self.step(&active, c)?;
            if !active.contains(&true) {
                break;
            }
        }
        Ok(found)
    }

    /// Marks an element, and those behind it that an empty `*` leads to.
    fn enter(&self, active: &mut [bool], mut element: usize) {
        active[element] = true;
        while self.elements.get(element) == Some(&Element::Any) {
            element += 1;
            active[element] = true;
        }
    }

    fn step(&self, active: &[bool], c: char) -> Result<Vec<bool>, Failure> {
        self.fuel.burn(active.len()).ok_or(Failure::TooMuch)?;
        let mut next = vec![false; active.len()];
        for (at, element) in self.elements.iter().enumerate().filter(|(at, _)| active[*at]) {
            match element {
                Element::Any => self.enter(&mut next, at),
                Element::One => self.enter(&mut next, at + 1),
                Element::Literal(literal) if *literal == c => self.enter(&mut next, at + 1),
                Element::Literal(_) => {}
            }
        }
        Ok(next)
    }

    /// The leftmost match from `from` on, the longest of those that begin there. One pass: every place in the pattern
    /// remembers the leftmost start that leads to it.
    fn find(&self, value: &[char], from: usize) -> Result<Option<(usize, usize)>, Failure> {
        let last = self.elements.len();
        let mut starts: Vec<Option<usize>> = vec![None; last + 1];
        let mut found: Option<(usize, usize)> = None;
        for at in from..=value.len() {
            if found.is_none() {
                self.seed(&mut starts, 0, at);
            }
            if let Some(start) = starts[last]
                && found.is_none_or(|(leftmost, _)| start <= leftmost)
            {
                found = Some((start, at));
            }
            let Some(&c) = value.get(at) else { break };
            self.fuel.burn(starts.len()).ok_or(Failure::TooMuch)?;
            let mut next = vec![None; last + 1];
            for (place, element) in self.elements.iter().enumerate() {
                let Some(start) = starts[place].filter(|start| found.is_none_or(|(left, _)| *start <= left))
                else {
                    continue;
                };
                match element {
                    Element::Any => self.seed(&mut next, place, start),
                    Element::One => self.seed(&mut next, place + 1, start),
                    Element::Literal(literal) if *literal == c => self.seed(&mut next, place + 1, start),
                    Element::Literal(_) => {}
                }
            }
            starts = next;
            if found.is_some() && starts.iter().all(Option::is_none) {
                break;
            }
        }
        Ok(found)
    }

    fn seed(&self, starts: &mut [Option<usize>], mut place: usize, start: usize) {
        loop {
            match starts[place] {
                Some(earlier) if earlier <= start => return,
                _ => starts[place] = Some(start),
            }
            if self.elements.get(place) != Some(&Element::Any) {
                return;
            }
            place += 1;
        }
    }
}
