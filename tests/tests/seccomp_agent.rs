// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Seccomp": `SCMP_ACT_NOTIFY` asks an agent that listens at `listenerPath`.
#![expect(clippy::unwrap_used, reason = "a test whose agent fails has failed")]

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

struct Agent {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    /// Listens when it is there. Every `mkdir` finds the disk full.
    fn start(sandbox: &Sandbox, socket: &Path, connections: u32) -> require::Requirement<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/seccomp_agent.py");
        let mut command = sandbox.command(require::program("python3")?);
        command.arg(script).arg(socket).args(["28", &connections.to_string()]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut agent = Self { process, lines };
        assert_eq!(agent.line(), "ready");
        Ok(agent)
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// What a runtime said about one process.
    fn state(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn end(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

fn notifying(config: &mut Value, socket: &Path, no_new_privileges: bool) {
    config["process"]["noNewPrivileges"] = json!(no_new_privileges);
    config["annotations"] = json!({ "who": "me" });
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": socket, "listenerMetadata": "some words",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    });
}

const FULL: &str = "mkdir: can't create directory '/d': No space left on device\n";

#[test]
fn root_an_agent_answers_for_the_kernel_in_a_container_and_in_an_exec() {
    needs!(require::root());
    for no_new_privileges in [true, false] {
        let sandbox = Sandbox::new();
        let socket = sandbox.path("agent");
        let mut agent = needs!(Agent::start(&sandbox, &socket, 2));
        let mut bundle =
            needs!(Bundle::create(&sandbox.work(), &["sh", "-c", "mkdir /d 2>/said; exec sleep 1000"]));
        bundle.change(|config| notifying(config, &socket, no_new_privileges));
        let id = sandbox.id("a");
        sandbox.runtime(["create", &id]).run().success();

        let told = agent.state();
        let state: Value =
            serde_json::from_str(&sandbox.runtime(["state", &id]).run().success().stdout).unwrap();
        let pid = &state["pid"];
        let wanted = json!({
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "some words", "passed": 1, "more": "",
            "state": { "ociVersion": "1.3.0", "id": id, "status": "creating", "pid": pid, "bundle": bundle.path,
                       "annotations": { "who": "me" } },
        });
        assert_eq!(told, wanted);

        sandbox.runtime(["start", &id]).run().success();
        let output = sandbox.runtime(["exec", &id, "sh", "-c", "mkdir /d; cat /said"]).run().success();
        let told = agent.state();
        assert_eq!(told["state"]["status"], "running", "{told}");
        assert!(told["pid"] != *pid && told["state"]["pid"] == *pid, "{told}");
        assert_eq!((output.stderr.as_str(), output.stdout.as_str()), (FULL, FULL));
        sandbox.runtime(["delete", "--force", &id]).run().success();
        agent.end();
        sandbox.finish();
    }
}

#[test]
fn root_without_its_agent_there_is_no_container() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    bundle.change(|config| notifying(config, Path::new("/no/agent"), true));
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().exits(1);
    assert!(output.stderr.contains("failed to connect with seccomp agent at /no/agent: "), "{output}");
    sandbox.finish();
}
