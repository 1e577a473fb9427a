// SPDX-License-Identifier: Apache-2.0
//! libseccomp as an oracle, by way of Python's ctypes.

use conex_sys::seccomp::Instruction;

/// What libseccomp makes of a profile, and the names that it does not know.
pub(super) fn libseccomps(profile: &serde_json::Value) -> Result<(Vec<Instruction>, Vec<String>), String> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/libseccomp.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python3: {error}"))?;
    python.stdin.take().unwrap().write_all(profile.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("cannot open shared object file") {
        return Err("needs libseccomp.so.2 (package libseccomp2)".into());
    }
    assert!(output.status.success(), "{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (unknown, program) = text.split_once('\n').unwrap();
    let instruction = |line: &str| {
        let fields: Vec<u32> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        Instruction {
            code: fields[0].try_into().unwrap(),
            jump_true: fields[1].try_into().unwrap(),
            jump_false: fields[2].try_into().unwrap(),
            operand: fields[3],
        }
    };
    Ok((program.lines().map(instruction).collect(), serde_json::from_str(unknown).unwrap()))
}
