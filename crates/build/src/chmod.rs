// SPDX-License-Identifier: Apache-2.0
//! Modes as `chmod` takes them: octal, or symbolic (POSIX chmod, without `X` on what was not executable).

use std::fmt;

/// `--chmod`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chmod {
    /// The mode.
    Octal(u32),
    /// Changes to the source's mode, one after the other.
    Symbolic(Vec<Change>),
}

/// `u+rw`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Bits of those that it is about.
    who: u32,
    operator: Operator,
    /// Of `rwxst`, for everybody.
    bits: u32,
    /// `X`
    conditional: bool,
    /// `u`, `g` or `o`: what they have.
    like: Option<u32>,
}

/// Octal, or the changes with everything in octal: for keys, not for people.
impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = match self {
            Self::Octal(mode) => return write!(f, "{mode:o}"),
            Self::Symbolic(changes) => changes,
        };
        for Change { who, operator, bits, conditional, like } in changes {
            let operator = match operator {
                Operator::Add => '+',
                Operator::Remove => '-',
                Operator::Set => '=',
            };
            write!(f, "{who:o}{operator}{bits:o}")?;
            write!(f, "{}", if *conditional { "X" } else { "" })?;
            write!(f, "{},", like.map(|like| format!("<{like}")).unwrap_or_default())?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    Add,
    Remove,
    Set,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHERS: u32 = 0o1007;

impl Chmod {
    /// `None`: neither octal up to 07777 nor symbolic.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok()?;
            return (mode <= 0o7777).then_some(Self::Octal(mode));
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            clause_changes(clause, &mut changes)?;
        }
        Some(Self::Symbolic(changes))
    }

    /// The mode that a file gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(octal) => *octal,
            Self::Symbolic(changes) => {
                changes.iter().fold(mode, |mode, change| change.apply(mode, is_directory))
            }
        }
    }
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = self.bits;
        if self.conditional && (is_directory || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        if let Some(shift) = self.like {
            bits |= ((mode >> shift) & 0o7) * 0o111;
        }
        let bits = bits & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => (mode & !self.who) | bits,
        }
    }
}

/// `ugo+r-w=x`
fn clause_changes(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let operators = clause.find(['+', '-', '='])?;
    let (whom, mut rest) = clause.split_at(operators);
    let mut who = 0;
    for c in whom.chars() {
        who |= match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHERS,
            'a' => USER | GROUP | OTHERS,
            _ => return None,
        };
    }
    let who = if who == 0 { USER | GROUP | OTHERS } else { who };
    while let Some(first) = rest.chars().next() {
        let operator = match first {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        let mut change = Change { who, operator, bits: 0, conditional: false, like: None };
        for c in rest[1..end].chars() {
            match c {
                'r' => change.bits |= 0o444,
                'w' => change.bits |= 0o222,
                'x' => change.bits |= 0o111,
                's' => change.bits |= 0o6000,
                't' => change.bits |= 0o1000,
                'X' => change.conditional = true,
                'u' => change.like = Some(6),
                'g' => change.like = Some(3),
                'o' => change.like = Some(0),
                _ => return None,
            }
        }
        changes.push(change);
        rest = &rest[end..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_with_chmod() {
        let table = [
            ("755", 0o600, false, Some(0o755)),
            ("07777", 0, false, Some(0o7777)),
            ("u=rwX,go=rX", 0o640, false, Some(0o644)),
            ("u=rwX,go=rX", 0o700, true, Some(0o755)),
            ("+x", 0o644, false, Some(0o755)),
            ("go-rwx", 0o777, false, Some(0o700)),
            ("g=u", 0o640, false, Some(0o660)),
            ("u+s,+t", 0o755, false, Some(0o5755)),
            ("a=", 0o777, false, Some(0)),
            ("u+r-w", 0o222, false, Some(0o422)),
            ("77777", 0, false, None),
            ("8", 0, false, None),
            ("u", 0, false, None),
            ("z+x", 0, false, None),
        ];
        for (text, mode, is_directory, expected) in table {
            assert_eq!(Chmod::parse(text).map(|chmod| chmod.apply(mode, is_directory)), expected, "{text}");
        }
    }
}
