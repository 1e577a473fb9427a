// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile becomes a classic BPF program. Pure: loading it is `sys`'s job.
//!
//! ```text
//!  A = arch ── is it one of the profile's? ── no ──► kill the thread
//!                 │ yes, this one
//!  A = number ── binary search over stretches of equal treatment
//!                 ├ one answer for all of them ──► return it
//!                 └ rules with arguments ──► the first whose comparisons all hold, else the default
//! ```
//!
//! What libseccomp and runc do with a profile is what this does: the native architecture is always in; x32 calls are
//! x86_64 ones with bit 30; names that an architecture lacks are skipped there; a rule that repeats the default is
//! none; the first rule without arguments beats all others; two comparisons of one argument are alternatives; on x86 the socket
//! and System V calls are reached through `socketcall` and `ipc`, too. A call newer than the newest in a restrictive
//! profile gets ENOSYS, so that programs fall back to what its author knew.

mod program;
mod table;

use conex_spec::runtime::{Action, Operator, Seccomp, SeccompFlag, SyscallArg};
use conex_sys::seccomp::{Instruction, MAX_INSTRUCTIONS, NEW_LISTENER};
use serde::Serialize;

use program::Width;
use table::Call;

/// The architectures that get a filter, of all that a profile may name: the others cannot call this kernel.
#[cfg(test)]
const ARCHITECTURES: [&str; 5] =
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;
const EPERM: u32 = 1;
/// Bit 30 of an x86_64 system call number.
const X32_BIT: u32 = 0x4000_0000;

/// Whether any architecture has a call of this name.
pub fn knows(name: &str) -> bool {
    table::find(name).is_some()
}

/// What seccomp(2) with SECCOMP_SET_MODE_FILTER takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filter {
    #[serde(serialize_with = "program_length")]
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*, with NEW_LISTENER if a rule notifies. A plan shows their names.
    #[serde(serialize_with = "flag_names")]
    pub flags: u32,
}

impl Filter {
    /// Whether loading it returns a descriptor to notify an agent through.
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// The names of `flags`.
    pub fn flag_words(&self) -> impl Iterator<Item = &'static str> {
        flag_words(self.flags)
    }
}

/// A plan shows how long a program is; its instructions say nothing to a reader.
fn program_length<S: serde::Serializer>(program: &[Instruction], writer: S) -> Result<S::Ok, S::Error> {
    writer.serialize_u64(program.len() as u64)
}

const SPEC_ALLOW: u32 = 1 << 2;
const FLAGS: [(u32, &str); 4] = [
    (1 << 1, "SECCOMP_FILTER_FLAG_LOG"),
    (SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    (1 << 5, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn flag_names<S: serde::Serializer>(flags: &u32, writer: S) -> Result<S::Ok, S::Error> {
    writer.collect_seq(flag_words(*flags))
}

fn flag_words(flags: u32) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, word)| word)
}

/// In the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Architecture {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl Architecture {
    const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            _ => return None,
        })
    }

    /// x32 programs can put 64 bits into a register.
    fn width(self) -> Width {
        if matches!(self, Self::X86 | Self::Arm) { Width::Narrow } else { Width::Wide }
    }

    /// `AUDIT_ARCH_*`: what the kernel reports.
    fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }
}

/// Compiles a profile for the machine that this program runs on.
pub fn compile(profile: &Seccomp) -> Result<Filter, CompileError> {
    let architectures = architectures(profile);
    let program = whole_program(&architectures, &Calls::new(profile, &architectures));
    if program.len() > MAX_INSTRUCTIONS {
        let length = program.len();
        return Err(CompileError {
            message: format!(
                "the filter would have {length} instructions, the kernel takes {MAX_INSTRUCTIONS}"
            ),
        });
    }
    let notifies = profile.syscalls.iter().any(|rule| rule.action == Action::Notify);
    Ok(Filter { program, flags: flags(profile, notifies) })
}

/// Those of the profile that can occur, native first. What cannot be filtered cannot run here either.
fn architectures(profile: &Seccomp) -> Vec<Architecture> {
    let mut list = vec![Architecture::NATIVE];
    for name in &profile.architectures {
        list.extend(Architecture::parse(name).filter(|architecture| !list.contains(architecture)));
    }
    list
}

/// `SECCOMP_RET_*` with its data.
fn answer(action: Action, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(EPERM) & 0xffff;
    match action {
        Action::KillThread => KILL_THREAD,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | errno,
        Action::Notify => 0x7fc0_0000,
        Action::Trace => 0x7ff0_0000 | errno,
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}

/// TSYNC is for other threads, of which there are none; WAIT_KILLABLE_RECV is refused without a listener. A profile
/// that asks for no flag at all gets SPEC_ALLOW, as newer kernels have it anyway.
fn flags(profile: &Seccomp, notifies: bool) -> u32 {
    let mut flags = if notifies { NEW_LISTENER } else { 0 };
    if profile.flags.is_empty() {
        flags |= SPEC_ALLOW;
    }
    for flag in &profile.flags {
        flags |= match flag {
            SeccompFlag::Log => 1 << 1,
            SeccompFlag::SpecAllow => SPEC_ALLOW,
            SeccompFlag::WaitKillableRecv if notifies => 1 << 5,
            SeccompFlag::Tsync | SeccompFlag::WaitKillableRecv => 0,
        };
    }
    flags
}

/// The profile, by system call.
struct Calls<'a> {
    default: u32,
    /// Every name of every rule that does not repeat the default, in order. Names that nobody has are left out.
    rules: Vec<(Call, &'a [SyscallArg], u32)>,
    /// For x86: what `socketcall` and `ipc` stand for.
    multiplexed: Vec<(u32, SyscallArg, u32)>,
    /// By architecture, the highest number that the profile names at all; none if newer calls are like all others.
    newest: [Option<u32>; 5],
}

impl<'a> Calls<'a> {
    fn new(profile: &'a Seccomp, architectures: &[Architecture]) -> Self {
        let default = answer(profile.default_action, profile.default_errno_ret);
        let permissive = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace);
        let mut calls = Self { default, rules: Vec::new(), multiplexed: Vec::new(), newest: [None; 5] };
        for rule in &profile.syscalls {
            let answer = answer(rule.action, rule.errno_ret);
            for name in &rule.names {
                let Some(call) = table::find(name) else { continue };
                if !permissive && default != ENOSYS {
                    calls.note(call, architectures);
                }
                if answer == default {
                    continue;
                }
                calls.rules.push((call, &rule.args, answer));
                if rule.args.is_empty() && architectures.contains(&Architecture::X86) {
                    calls.multiplexed.extend(multiplex(call).map(|(number, first)| (number, first, answer)));
                }
            }
        }
        calls
    }

    fn note(&mut self, call: Call, architectures: &[Architecture]) {
        for architecture in architectures {
            let newest = &mut self.newest[*architecture as usize];
            *newest = (*newest).max(call.number(*architecture));
        }
    }

    /// Each number of an architecture that is not treated as the default, in order.
    fn treatments(&self, architecture: Architecture) -> Vec<(u32, Treatment)> {
        let rules = self.rules.iter().map(|(call, args, answer)| (call.number(architecture), *args, *answer));
        let x86 = (architecture == Architecture::X86).then_some(&self.multiplexed);
        let multiplexed = x86.into_iter().flatten();
        let multiplexed =
            multiplexed.map(|(number, call, answer)| (Some(*number), std::slice::from_ref(call), *answer));
        let mut found: Vec<_> = rules
            .chain(multiplexed)
            .filter_map(|(number, args, answer)| Some((number?, args, answer)))
            .collect();
        // Stable: of one call's rules the first stays the first.
        found.sort_by_key(|(number, ..)| *number);
        found
            .chunk_by(|one, other| one.0 == other.0)
            .map(|rules| (rules[0].0, self.treatment(rules, architecture.width())))
            .collect()
    }

    fn treatment(&self, rules: &[(u32, &[SyscallArg], u32)], width: Width) -> Treatment {
        if let Some((.., answer)) = rules.iter().find(|(_, args, _)| args.is_empty()) {
            return Treatment::Answer(*answer);
        }
        let mut piece = Vec::new();
        for (_, comparisons, answer) in rules {
            if repeats_an_argument(comparisons) {
                for one in *comparisons {
                    program::if_all(std::slice::from_ref(one), width, *answer, &mut piece);
                }
            } else {
                program::if_all(comparisons, width, *answer, &mut piece);
            }
        }
        piece.push(program::answer(self.default));
        Treatment::Rules(piece)
    }
}

fn repeats_an_argument(comparisons: &[SyscallArg]) -> bool {
    comparisons
        .iter()
        .enumerate()
        .any(|(at, one)| comparisons[..at].iter().any(|earlier| earlier.index == one.index))
}

/// On x86: the call that stands for another one, and the first argument that says so.
fn multiplex(call: Call) -> Option<(u32, SyscallArg)> {
    const SOCKETCALL: (u32, &[(Call, u64)]) = (
        102,
        &[
            (Call::named("socket"), 1),
            (Call::named("bind"), 2),
            (Call::named("connect"), 3),
            (Call::named("listen"), 4),
            (Call::named("accept"), 5),
            (Call::named("getsockname"), 6),
            (Call::named("getpeername"), 7),
            (Call::named("socketpair"), 8),
            (Call::named("send"), 9),
            (Call::named("recv"), 10),
            (Call::named("sendto"), 11),
            (Call::named("recvfrom"), 12),
            (Call::named("shutdown"), 13),
            (Call::named("setsockopt"), 14),
            (Call::named("getsockopt"), 15),
            (Call::named("sendmsg"), 16),
            (Call::named("recvmsg"), 17),
            (Call::named("accept4"), 18),
            (Call::named("recvmmsg"), 19),
            (Call::named("sendmmsg"), 20),
        ],
    );
    const IPC: (u32, &[(Call, u64)]) = (
        117,
        &[
            (Call::named("semop"), 1),
            (Call::named("semget"), 2),
            (Call::named("semctl"), 3),
            (Call::named("semtimedop"), 4),
            (Call::named("msgsnd"), 11),
            (Call::named("msgrcv"), 12),
            (Call::named("msgget"), 13),
            (Call::named("msgctl"), 14),
            (Call::named("shmat"), 21),
            (Call::named("shmdt"), 22),
            (Call::named("shmget"), 23),
            (Call::named("shmctl"), 24),
        ],
    );
    [SOCKETCALL, IPC].into_iter().find_map(|(number, calls)| {
        let (_, value) = calls.iter().find(|(one, _)| *one == call)?;
        Some((number, SyscallArg { index: 0, value: *value, value_two: 0, op: Operator::Equal }))
    })
}

fn whole_program(architectures: &[Architecture], calls: &Calls<'_>) -> Vec<Instruction> {
    let mut program = vec![program::load(program::ARCHITECTURE)];
    for architecture in architectures.iter().filter(|one| **one != Architecture::X32) {
        let both = *architecture == Architecture::X86_64 && architectures.contains(&Architecture::X32);
        let section = section(*architecture, both, calls);
        program::if_equal(architecture.audit(), &section, &mut program);
    }
    program.push(program::answer(KILL_THREAD));
    program
}

/// All numbers of one architecture, as the kernel reports it.
fn section(architecture: Architecture, with_x32: bool, calls: &Calls<'_>) -> Vec<Instruction> {
    let mut stretches = Stretches { list: Vec::new(), default: calls.default };
    stretches.add(0, architecture, calls);
    if with_x32 {
        stretches.add(X32_BIT, Architecture::X32, calls);
    } else if architecture == Architecture::X86_64 {
        stretches.begin(X32_BIT, Treatment::Answer(KILL_THREAD));
        // A tracer writes -1 to skip a call.
        stretches.begin(u32::MAX, Treatment::Answer(calls.default));
    }
    let mut program = vec![program::load(program::NUMBER)];
    program::search(&stretches.list, &mut program);
    program
}

/// What is done with a call of some number.
#[derive(Clone, PartialEq)]
enum Treatment {
    Answer(u32),
    /// A piece of program that looks at the arguments.
    Rules(Vec<Instruction>),
}

/// Numbers that are treated alike, side by side: the first of each stretch. The very first is 0.
struct Stretches {
    list: Vec<(u32, Treatment)>,
    default: u32,
}

impl Stretches {
    /// From this number on another treatment; nothing new if it is the same one.
    fn begin(&mut self, first: u32, treatment: Treatment) {
        match self.list.last_mut() {
            Some((_, before)) if *before == treatment => {}
            Some((start, before)) if *start == first => *before = treatment,
            _ => self.list.push((first, treatment)),
        }
    }

    /// All calls of an architecture whose numbers start at `base`.
    fn add(&mut self, base: u32, architecture: Architecture, calls: &Calls<'_>) {
        let default = Treatment::Answer(self.default);
        let mut next = base;
        for (number, treatment) in calls.treatments(architecture) {
            if number != next || number == base {
                self.begin(next, default.clone());
            }
            self.begin(number, treatment);
            next = number + 1;
        }
        self.begin(next, default);
        if let Some(newest) = calls.newest[architecture as usize] {
            self.begin(newest + 1, Treatment::Answer(ENOSYS));
        }
    }
}

/// A profile that cannot become a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    pub message: String,
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CompileError {}

#[cfg(test)]
mod tests;
