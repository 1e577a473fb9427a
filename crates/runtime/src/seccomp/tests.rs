// SPDX-License-Identifier: Apache-2.0
//! The compiler against the definition: each profile is evaluated directly, and its program by an interpreter of
//! classic BPF, for every architecture, every number around the table's, and arguments around the profile's values.
#![expect(clippy::disallowed_methods, reason = "the host's own profile")]

use conex_spec::runtime::SyscallRule;

use super::*;

#[path = "../../tests/oracle/classic_bpf.rs"]
mod classic_bpf;
#[path = "../../tests/oracle/libseccomp.rs"]
mod libseccomp;

use classic_bpf::{Data, run};
use libseccomp::libseccomps;

const ALLOW: u32 = 0x7fff_0000;
const EPERM_ANSWER: u32 = 0x0005_0001;

fn holds(comparison: &SyscallArg, architecture: Architecture, arguments: &[u64; 6]) -> bool {
    let seen = |value: u64| match architecture.width() {
        Width::Narrow => value & 0xffff_ffff,
        Width::Wide => value,
    };
    let argument = seen(arguments[comparison.index as usize]);
    let value = seen(comparison.value);
    match comparison.op {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterEqual => argument >= value,
        Operator::Greater => argument > value,
        Operator::MaskedEqual => argument & value == seen(comparison.value_two) & value,
    }
}

/// The profile's meaning for one call of one architecture, by going through it rule by rule.
fn meaning(profile: &Seccomp, architecture: Architecture, data: &Data) -> u32 {
    let default = answer(profile.default_action, profile.default_errno_ret);
    let number = |name: &str| table::find(name).and_then(|call| call.number(architecture));
    let mut with_arguments = None;
    let mut whole = None;
    for rule in &profile.syscalls {
        let said = answer(rule.action, rule.errno_ret);
        if said == default {
            continue;
        }
        for name in &rule.names {
            if number(name) == Some(data.number) {
                let matches = if repeats_an_argument(&rule.args) {
                    rule.args.iter().any(|comparison| holds(comparison, architecture, &data.arguments))
                } else {
                    rule.args.iter().all(|comparison| holds(comparison, architecture, &data.arguments))
                };
                if rule.args.is_empty() {
                    whole.get_or_insert(said);
                } else if matches {
                    with_arguments.get_or_insert(said);
                }
            }
            if architecture == Architecture::X86
                && rule.args.is_empty()
                && table::find(name).and_then(multiplex).is_some_and(|(number, call)| {
                    number == data.number && holds(&call, architecture, &data.arguments)
                })
            {
                with_arguments.get_or_insert(said);
            }
        }
    }
    if let Some(said) = whole.or(with_arguments) {
        return said;
    }
    let permissive = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace);
    let newest = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| number(name)).max();
    if !permissive && newest.is_some_and(|newest| data.number > newest) { ENOSYS } else { default }
}

/// Counts the cases, so that a test that tried nothing fails.
fn check(profile: &Seccomp) -> usize {
    let filter = compile(profile).unwrap();
    assert!(filter.program.len() <= MAX_INSTRUCTIONS);
    let listed = architectures(profile);
    let mut cases = 0;
    for architecture in
        [Architecture::X86_64, Architecture::X86, Architecture::X32, Architecture::Aarch64, Architecture::Arm]
    {
        let base = if architecture == Architecture::X32 { X32_BIT } else { 0 };
        let numbers = (base..base + 600).chain([base + 0x0f_0002, base + 0x0f_0005, base + 0x3fff_ffff]);
        for number in numbers.filter(|number| *number < X32_BIT || architecture == Architecture::X32) {
            for arguments in interesting_arguments(profile, architecture, number) {
                let data = Data { architecture: architecture.audit(), number, arguments };
                let expected = if listed.contains(&architecture) {
                    meaning(profile, architecture, &data)
                } else {
                    KILL_THREAD
                };
                let got = run(&filter.program, &data);
                assert_eq!(
                    got, expected,
                    "{architecture:?} {number:#x} {arguments:x?}: {got:#x}, not {expected:#x}"
                );
                cases += 1;
            }
        }
    }
    cases
}

/// For calls with argument rules: each value of the profile and its neighbours, in each argument.
fn interesting_arguments(profile: &Seccomp, architecture: Architecture, number: u32) -> Vec<[u64; 6]> {
    let mut list = vec![[0; 6]];
    let named = |name: &String| {
        let own = table::find(name).and_then(|call| call.number(architecture));
        own == Some(number) || table::find(name).and_then(multiplex).is_some_and(|(call, _)| call == number)
    };
    for rule in profile.syscalls.iter().filter(|rule| rule.names.iter().any(named)) {
        let mut values = vec![1, 5, 20, 24, 25, u64::MAX, u64::from(u32::MAX)];
        for comparison in &rule.args {
            for value in [comparison.value, comparison.value_two] {
                let swapped = value.rotate_left(32);
                values.extend([
                    value,
                    value.wrapping_add(1),
                    value.wrapping_sub(1),
                    swapped,
                    value ^ 1 << 32,
                    !value,
                ]);
            }
        }
        for value in values {
            let mut indices: Vec<_> = rule.args.iter().map(|comparison| comparison.index as usize).collect();
            indices.push(0);
            for index in indices {
                let all_right = rule.args.iter().fold([0; 6], |mut arguments: [u64; 6], comparison| {
                    arguments[comparison.index as usize] = match comparison.op {
                        Operator::MaskedEqual => comparison.value_two,
                        _ => comparison.value,
                    };
                    arguments
                });
                for mut arguments in [[0; 6], all_right] {
                    arguments[index] = value;
                    list.push(arguments);
                }
            }
        }
    }
    list
}

fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn every_operator_splits_its_64_bits_rightly() {
    for operator in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for (value, value_two) in [
            (0_u64, 0_u64),
            (5, 4),
            (1 << 32, 1 << 32),
            (0x1_0000_0005, 1),
            (u64::MAX, 7),
            (u64::MAX, u64::MAX),
        ] {
            let cases = check(&profile(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
                    {{"names":["personality"],"action":"SCMP_ACT_ALLOW",
                      "args":[{{"index":5,"value":{value},"valueTwo":{value_two},"op":"SCMP_CMP_{operator}"}}]}}]}}"#
            )));
            assert!(cases > 2500, "{cases}");
        }
    }
}

#[test]
fn rules_combine_as_they_do_elsewhere() {
    for rules in [
        // All of several comparisons; the same argument twice means either.
        r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":3,"op":"SCMP_CMP_EQ"},{"index":2,"value":9,"op":"SCMP_CMP_GT"}]}"#,
        r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":3,"op":"SCMP_CMP_EQ"},{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]}"#,
        // The first that matches; without arguments beats with; the first of those.
        r#"{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":22,"args":[{"index":0,"value":16,"op":"SCMP_CMP_EQ"}]},
           {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":10,"op":"SCMP_CMP_GT"}]}"#,
        r#"{"names":["socket"],"action":"SCMP_ACT_ALLOW"},
           {"names":["socket"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":16,"op":"SCMP_CMP_EQ"}]}"#,
        r#"{"names":["bpf","read"],"action":"SCMP_ACT_ALLOW"},{"names":["bpf"],"action":"SCMP_ACT_KILL_PROCESS"},{"names":["bpf"],"action":"SCMP_ACT_TRACE","errnoRet":7}"#,
        // What an architecture lacks, what nobody has, what only repeats the default but is the newest.
        r#"{"names":["open","no_such_call","set_tls","semget"],"action":"SCMP_ACT_ALLOW"},{"names":["file_setattr"],"action":"SCMP_ACT_ERRNO"}"#,
    ] {
        for (default, architectures) in [
            ("SCMP_ACT_ERRNO", r#""SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32""#),
            ("SCMP_ACT_KILL", r#""SCMP_ARCH_AARCH64","SCMP_ARCH_ARM","SCMP_ARCH_MIPS""#),
            ("SCMP_ACT_ALLOW", ""),
        ] {
            check(&profile(&format!(
                r#"{{"defaultAction":"{default}","architectures":[{architectures}],"syscalls":[{rules}]}}"#
            )));
        }
    }
}

#[test]
fn newer_calls_are_unknown_unless_the_default_is_permissive() {
    let restrictive =
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let run = |json: &str, number| {
        let native = Data { architecture: Architecture::NATIVE.audit(), number, arguments: [0; 6] };
        run(&compile(&profile(json)).unwrap().program, &native)
    };
    assert_eq!(run(restrictive, 437), ALLOW);
    assert_eq!(run(restrictive, 436), EPERM_ANSWER);
    assert_eq!(run(restrictive, 438), ENOSYS);
    assert_eq!(run(&restrictive.replace("SCMP_ACT_ERRNO", "SCMP_ACT_LOG"), 438), 0x7ffc_0000);
    let own = restrictive.replace("\"syscalls\"", "\"defaultErrnoRet\":38,\"syscalls\"");
    assert_eq!(run(&own, 436), ENOSYS);
}

#[test]
fn x32_calls_are_strangers_unless_listed() {
    let run = |architectures: &str, number| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":[{architectures}],"syscalls":[{{"names":["read"],"action":"SCMP_ACT_ERRNO"}}]}}"#
        );
        let data = Data { architecture: Architecture::X86_64.audit(), number, arguments: [0; 6] };
        run(&compile(&profile(&json)).unwrap().program, &data)
    };
    assert_eq!(run(r#""SCMP_ARCH_X86_64""#, X32_BIT), KILL_THREAD);
    assert_eq!(run(r#""SCMP_ARCH_X86_64""#, u32::MAX), ALLOW);
    assert_eq!(run(r#""SCMP_ARCH_X86_64","SCMP_ARCH_X32""#, X32_BIT), EPERM_ANSWER);
    assert_eq!(run(r#""SCMP_ARCH_X86_64","SCMP_ARCH_X32""#, X32_BIT + 1), ALLOW);
}

#[test]
fn flags_and_notification() {
    let flags = |json: &str| compile(&profile(json)).unwrap().flags;
    let all = r#"["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(flags(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":{all}}}"#)), 0b110);
    let notify = r#""syscalls":[{"names":["mknod"],"action":"SCMP_ACT_NOTIFY"}]"#;
    assert_eq!(flags(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":{all},{notify}}}"#)), 0b10_1110);
}

#[test]
fn a_profile_that_is_too_long_is_refused() {
    let comparison = r#"{"index":1,"value":4294967297,"op":"SCMP_CMP_EQ"}"#;
    let rule = format!(r#"{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{comparison}]}}"#);
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, vec![rule; 1000].join(","));
    let error = compile(&profile(&json)).unwrap_err();
    assert!(error.message.ends_with("the kernel takes 4096"), "{error}");
}

/// The profile that podman installs, resolved as an engine does it for a container without further capabilities.
fn podmans_profile() -> Option<serde_json::Value> {
    let text = std::fs::read("/usr/share/containers/seccomp.json").ok()?;
    let mut document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    document["architectures"] = serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let rules = document["syscalls"].as_array_mut().unwrap();
    rules.retain(|rule| rule["includes"]["caps"].is_null() && rule["includes"]["arches"].is_null());
    Some(document)
}

const NO_PROFILE: &str = "needs /usr/share/containers/seccomp.json (package golang-github-containers-common)";

#[test]
fn podmans_default_profile() {
    let Some(document) = podmans_profile() else {
        eprintln!("SKIP podmans_default_profile: {NO_PROFILE}");
        return;
    };
    let profile: Seccomp = serde_json::from_value(document).unwrap();
    let cases = check(&profile);
    assert!(cases > 2000, "{cases}");
    let start = std::time::Instant::now();
    let rounds = 100;
    for _ in 0..rounds {
        std::hint::black_box(compile(std::hint::black_box(&profile)).unwrap());
    }
    let length = compile(&profile).unwrap().program.len();
    eprintln!("podman's profile: {length} instructions, {:?} to compile", start.elapsed() / rounds);
}

/// The same answers as libseccomp's program, but for calls that only one of the two knows, and for ENOSYS, which it has
/// no notion of.
fn compare_with_libseccomp(document: &serde_json::Value) -> Result<usize, String> {
    let (theirs, unknown) = libseccomps(document)?;
    let profile: Seccomp = serde_json::from_value(document.clone()).unwrap();
    let ours = compile(&profile).unwrap();
    let mut cases = 0;
    for architecture in [Architecture::X86_64, Architecture::X86, Architecture::X32, Architecture::Arm] {
        let base = if architecture == Architecture::X32 { X32_BIT } else { 0 };
        for number in base..base + 450 {
            let only_ours = unknown
                .iter()
                .filter_map(|name| table::find(name))
                .any(|call| call.number(architecture) == Some(number));
            for arguments in interesting_arguments(&profile, architecture, number) {
                // The kernel gives 32-bit callers' arguments as 32 bits; libseccomp looks at no more of x32's.
                let narrow = architecture == Architecture::X32 || architecture.width() == Width::Narrow;
                let arguments =
                    arguments.map(|argument| if narrow { argument & 0xffff_ffff } else { argument });
                let data = Data { architecture: architecture.audit(), number, arguments };
                let (own, other) = (run(&ours.program, &data), run(&theirs, &data));
                if own != ENOSYS && !only_ours {
                    assert_eq!(
                        own, other,
                        "{architecture:?} {number:#x} {arguments:x?}: {own:#x}, they {other:#x}"
                    );
                    cases += 1;
                }
            }
        }
    }
    Ok(cases)
}

#[test]
fn libseccomp_answers_alike() {
    let rule = |default: &str, rules: &str| -> serde_json::Value {
        let text = format!(
            r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[{rules}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let mut documents = Vec::new();
    for operator in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in [0_u64, 5, 0x1_0000_0005, 0xffff_ffff] {
            let comparison =
                format!(r#"{{"index":2,"value":{value},"valueTwo":5,"op":"SCMP_CMP_{operator}"}}"#);
            let rules =
                format!(r#"{{"names":["ioctl","read"],"action":"SCMP_ACT_ALLOW","args":[{comparison}]}}"#);
            documents.push(rule("SCMP_ACT_ERRNO", &rules));
        }
    }
    documents.push(rule(
        "SCMP_ACT_ALLOW",
        r#"{"names":["clone"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":3,"op":"SCMP_CMP_EQ"},{"index":2,"value":9,"op":"SCMP_CMP_GT"}]},
           {"names":["ioctl"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":3,"op":"SCMP_CMP_EQ"},{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
           {"names":["bpf","mount"],"action":"SCMP_ACT_KILL_PROCESS"},{"names":["bpf"],"action":"SCMP_ACT_ERRNO"}"#,
    ));
    documents.push(rule(
        "SCMP_ACT_ERRNO",
        r#"{"names":["ioctl"],"action":"SCMP_ACT_ALLOW"},
           {"names":["ioctl"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":3,"op":"SCMP_CMP_EQ"}]},
           {"names":["prctl"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":3,"op":"SCMP_CMP_EQ"}]},
           {"names":["prctl"],"action":"SCMP_ACT_ALLOW"},
           {"names":["socket","semget"],"action":"SCMP_ACT_ALLOW"}"#,
    ));
    match podmans_profile() {
        Some(document) => documents.push(document),
        None => eprintln!("SKIP a part of libseccomp_answers_alike: {NO_PROFILE}"),
    }
    for document in documents {
        match compare_with_libseccomp(&document) {
            Ok(cases) => assert!(cases > 1000, "{cases}"),
            Err(reason) => {
                eprintln!("SKIP libseccomp_answers_alike: {reason}");
                return;
            }
        }
    }
}

/// Rules made up by a small generator, so that stretches of all kinds lie side by side.
#[test]
fn made_up_profiles() {
    let names: Vec<_> = table::names().collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    const ACTIONS: [Action; 5] =
        [Action::Allow, Action::Errno, Action::Trap, Action::Log, Action::KillProcess];
    const OPERATORS: [Operator; 7] = [
        Operator::NotEqual,
        Operator::Less,
        Operator::LessEqual,
        Operator::Equal,
        Operator::GreaterEqual,
        Operator::Greater,
        Operator::MaskedEqual,
    ];
    const VALUES: [u64; 5] = [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x8000_0001_0000_0001];
    for _ in 0..12 {
        let mut syscalls = Vec::new();
        for _ in 0..random(16) {
            let args = (0..random(3).saturating_sub(1) * (1 + random(3))).map(|_| SyscallArg {
                index: u32::try_from(random(6)).unwrap(),
                value: VALUES[random(5)],
                value_two: VALUES[random(5)],
                op: OPERATORS[random(7)],
            });
            let args = args.collect();
            let names = (0..=random(12)).map(|_| names[random(names.len())].to_owned()).collect();
            let action = ACTIONS[random(5)];
            syscalls.push(SyscallRule { names, action, errno_ret: None, args });
        }
        check(&Seccomp {
            default_action: ACTIONS[random(5)],
            default_errno_ret: None,
            architectures: ARCHITECTURES[random(5)..].iter().map(ToString::to_string).collect(),
            flags: Vec::new(),
            listener_path: String::new(),
            listener_metadata: String::new(),
            syscalls,
        });
    }
}
