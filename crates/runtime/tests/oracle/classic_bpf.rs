// SPDX-License-Identifier: Apache-2.0
//! An interpreter of the classic BPF that seccomp(2) takes.

use conex_sys::seccomp::Instruction;

/// What a filter is asked about.
pub(super) struct Data {
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// The kernel's machine, as far as seccomp allows it.
pub(super) fn run(program: &[Instruction], data: &Data) -> u32 {
    let word = |offset: u32| match offset {
        0 => data.number,
        4 => data.architecture,
        16..64 => {
            let argument = data.arguments[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
        }
        other => panic!("load from {other}"),
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = program[at];
        let branch = |holds| usize::from(if holds { step.jump_true } else { step.jump_false });
        at += 1 + match step.code {
            0x20 => {
                accumulator = word(step.operand);
                0
            }
            0x54 => {
                accumulator &= step.operand;
                0
            }
            0x05 => step.operand as usize,
            0x15 => branch(accumulator == step.operand),
            0x25 => branch(accumulator > step.operand),
            0x35 => branch(accumulator >= step.operand),
            0x06 => return step.operand,
            other => panic!("instruction {other:#x}"),
        };
    }
}
