// SPDX-License-Identifier: Apache-2.0
//! A command that is killed, or meets an error, at exactly one system call (`programs/inject.c`).

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use crate::program;
use crate::require::Requirement;
use crate::run::{Output, Run};
use crate::sandbox::Sandbox;

/// One system call of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The process: 0 is the command, its descendants follow in the order of their birth.
    pub process: u32,
    /// Its how manieth call, from 1.
    pub nth: u64,
    /// The call's number on x86-64; -1 where there was none.
    pub call: i64,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    /// The call is not made and answers with this errno.
    Error(i32),
}

/// The tracer, and how a traced command is started.
#[derive(Debug)]
pub struct Injector<'a> {
    sandbox: &'a Sandbox,
    program: OsString,
    /// Words before the tracer's own: a program that makes the scene and then executes the rest.
    pub scene: Vec<String>,
}

impl<'a> Injector<'a> {
    pub fn new(sandbox: &'a Sandbox) -> Requirement<Self> {
        Ok(Self { sandbox, program: program::compile("inject")?.into(), scene: Vec::new() })
    }

    /// The command in the scene, untouched.
    pub fn plain(&self, command: &Command) -> Command {
        self.in_scene(command.get_program().into(), command.get_args().map(OsString::from).collect())
    }

    /// Every call that the command makes until it ends.
    pub fn points(&self, command: &Command) -> Vec<Point> {
        self.trace(command, ["0", "0", "-1", "count"]).1
    }

    /// Runs the command; whether it came to that point, and what it did.
    pub fn run(&self, command: &Command, at: Point, fault: Fault) -> (bool, Output) {
        let action = match fault {
            Fault::Kill => "kill".to_owned(),
            Fault::Error(errno) => errno.to_string(),
        };
        let words = [at.process.to_string(), at.nth.to_string(), at.call.to_string(), action];
        let (output, hit) = self.trace(command, words.each_ref().map(String::as_str));
        (!hit.is_empty(), output)
    }

    fn trace(&self, command: &Command, what: [&str; 4]) -> (Output, Vec<Point>) {
        let report = self.sandbox.path("tmp/injected");
        let mut words: Vec<OsString> = what.map(OsString::from).into();
        words.push(report.clone().into());
        words.push(command.get_program().into());
        words.extend(command.get_args().map(OsString::from));
        let output = self.in_scene(self.program.clone(), words).run();
        let text = fs::read_to_string(&report).expect("the tracer writes its report");
        (output, text.lines().map(point).collect())
    }

    fn in_scene(&self, program: OsString, words: Vec<OsString>) -> Command {
        let mut all = self.scene.iter().map(OsString::from).chain([program]).chain(words);
        let mut command = self.sandbox.command(all.next().expect("at least the program"));
        command.args(all);
        command
    }
}

fn point(line: &str) -> Point {
    let numbers: Vec<i64> = line.split(' ').map(|word| word.parse().expect("three numbers")).collect();
    let [process, nth, call] = numbers[..] else { panic!("{line:?} is no point") };
    let positive = "the tracer counts upwards";
    Point { process: process.try_into().expect(positive), nth: nth.try_into().expect(positive), call }
}
