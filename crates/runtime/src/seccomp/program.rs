// SPDX-License-Identifier: Apache-2.0
//! Pieces of classic BPF. Every piece ends in returns on all its ways, so pieces can be put side by side without
//! knowing where they come to lie.

use conex_spec::runtime::{Operator, SyscallArg};
use conex_sys::seccomp::Instruction;

use super::Treatment;

/// `BPF_*` of linux/bpf_common.h, put together.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

pub(super) const fn load(offset: u32) -> Instruction {
    instruction(LOAD_WORD, 0, 0, offset)
}

pub(super) const fn answer(value: u32) -> Instruction {
    instruction(RETURN, 0, 0, value)
}

/// If A equals `value` then `then`, else what follows.
pub(super) fn if_equal(value: u32, then: &[Instruction], program: &mut Vec<Instruction>) {
    // A conditional jump reaches 255 instructions, an unconditional one all of them.
    program.push(instruction(JUMP_EQUAL, 1, 0, value));
    program.push(instruction(JUMP, 0, 0, length(then)));
    program.extend_from_slice(then);
}

fn length(piece: &[Instruction]) -> u32 {
    u32::try_from(piece.len()).unwrap_or(u32::MAX)
}

/// A binary search with A = the number: `stretches` has the first number of each, and what is done with them.
pub(super) fn search(stretches: &[(u32, Treatment)], program: &mut Vec<Instruction>) {
    match stretches {
        [] => return,
        [(_, Treatment::Answer(value))] => return program.push(answer(*value)),
        [(_, Treatment::Rules(piece))] => return program.extend_from_slice(piece),
        _ => {}
    }
    let (low, high) = stretches.split_at(stretches.len() / 2);
    let at = program.len();
    program.push(instruction(JUMP_GREATER_EQUAL, 0, 0, high[0].0));
    search(low, program);
    match u8::try_from(program.len() - at - 1) {
        Ok(distance) => program[at].jump_true = distance,
        Err(_) => {
            let distance = length(&program[at + 1..]);
            program[at].jump_false = 1;
            program.insert(at + 1, instruction(JUMP, 0, 0, distance));
        }
    }
    search(high, program);
}

/// Where a test goes on.
#[derive(Clone, Copy)]
enum Way {
    Next,
    /// This comparison holds.
    Pass,
    /// It does not, so the rule does not match.
    Fail,
}

/// How much of an argument a caller's registers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// Comparisons are of the low halves alone, of the profile's values as well: -1 is -1.
    Narrow,
    Wide,
}

/// If all comparisons hold, the answer; else what follows.
pub(super) fn if_all(comparisons: &[SyscallArg], width: Width, value: u32, program: &mut Vec<Instruction>) {
    let start = program.len();
    let mut failing = Vec::new();
    for comparison in comparisons {
        let tests = tests(comparison, width);
        place(&tests, program, &mut failing);
    }
    program.push(answer(value));
    let end = program.len();
    // At most six comparisons of at most six instructions: always within reach.
    debug_assert!(end - start < 255);
    for (at, on_true) in failing {
        let distance = u8::try_from(end - at - 1).unwrap_or(u8::MAX);
        if on_true {
            program[at].jump_true = distance;
        } else {
            program[at].jump_false = distance;
        }
    }
}

/// One instruction and where it goes on if it is a test that holds, or does not.
type Test = (Instruction, Way, Way);

/// One comparison: the high halves first, then the low ones.
fn tests(comparison: &SyscallArg, width: Width) -> Vec<Test> {
    use Way::{Fail, Next, Pass};
    let half = |value: u64| ((value >> 32) as u32, value as u32);
    let (high, low) = half(comparison.value);
    // Bits outside the mask could only make the rule one that never matches; libseccomp drops them, too.
    let (high_wanted, low_wanted) = half(comparison.value_two & comparison.value);
    let test = |code, value, on_true, on_false| (instruction(code, 0, 0, value), on_true, on_false);
    let plain = |instruction| (instruction, Next, Next);
    let offset = ARGUMENTS + 8 * comparison.index;
    let above = |yes, no| vec![test(JUMP_GREATER, high, yes, Next), test(JUMP_EQUAL, high, Next, no)];
    let (of_high, of_low) = match comparison.op {
        Operator::Equal => {
            (vec![test(JUMP_EQUAL, high, Next, Fail)], vec![test(JUMP_EQUAL, low, Pass, Fail)])
        }
        Operator::NotEqual => {
            (vec![test(JUMP_EQUAL, high, Next, Pass)], vec![test(JUMP_EQUAL, low, Fail, Pass)])
        }
        Operator::Greater => (above(Pass, Fail), vec![test(JUMP_GREATER, low, Pass, Fail)]),
        Operator::GreaterEqual => (above(Pass, Fail), vec![test(JUMP_GREATER_EQUAL, low, Pass, Fail)]),
        Operator::Less => (above(Fail, Pass), vec![test(JUMP_GREATER_EQUAL, low, Fail, Pass)]),
        Operator::LessEqual => (above(Fail, Pass), vec![test(JUMP_GREATER, low, Fail, Pass)]),
        Operator::MaskedEqual => (
            vec![plain(instruction(AND, 0, 0, high)), test(JUMP_EQUAL, high_wanted, Next, Fail)],
            vec![plain(instruction(AND, 0, 0, low)), test(JUMP_EQUAL, low_wanted, Pass, Fail)],
        ),
    };
    let mut tests = Vec::new();
    if width == Width::Wide {
        tests.push(plain(load(offset + 4)));
        tests.extend(of_high);
    }
    tests.push(plain(load(offset)));
    tests.extend(of_low);
    tests
}

/// Appends a comparison. `failing` collects the jumps that leave the rule.
fn place(tests: &[Test], program: &mut Vec<Instruction>, failing: &mut Vec<(usize, bool)>) {
    let end = program.len() + tests.len();
    for (mut instruction, on_true, on_false) in tests.iter().copied() {
        let at = program.len();
        let to_end = u8::try_from(end - at - 1).unwrap_or(u8::MAX);
        for (way, is_true) in [(on_true, true), (on_false, false)] {
            match way {
                Way::Next => {}
                Way::Pass if is_true => instruction.jump_true = to_end,
                Way::Pass => instruction.jump_false = to_end,
                Way::Fail => failing.push((at, is_true)),
            }
        }
        program.push(instruction);
    }
}
