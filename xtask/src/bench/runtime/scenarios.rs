// SPDX-License-Identifier: Apache-2.0
//! The stories that the runtimes are timed in.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use conex_testkit::bundle::Bundle;

use super::{Contestant, Peer, Race, USER, contestant, is_able};

type Scenario<'a> = (&'static str, Vec<Contestant<'a>>);

impl Race<'_> {
    fn each<'a>(&'a self, story: impl Fn(&'a Peer) -> Contestant<'a>) -> Vec<Contestant<'a>> {
        self.peers.iter().map(story).collect()
    }

    /// One container, or one command, at a time.
    pub(super) fn scenarios(&self) -> Result<Vec<Scenario<'_>>> {
        let mut all =
            vec![("run /bin/true: what spec writes", self.each(|peer| self.run(peer, &self.truth)))];
        all[0].1.push(self.floor("floor: cgroup, namespaces, mounts, pivot_root", &NAMESPACES, true));
        all[0].1.push(self.floor("floor: namespaces, mounts, pivot_root", &NAMESPACES, false));
        all[0].1.push(self.floor("floor: clone3 and execve", &[], false));
        if self.manager().is_none() {
            let mut without: Vec<_> =
                self.peers.iter().filter_map(|peer| self.run_without_cgroups(peer)).collect();
            without.push(self.floor("floor: namespaces, mounts, pivot_root", &NAMESPACES, false));
            all.push(("run /bin/true without cgroups", without));
        }
        if let Some(filtered) = &self.filtered {
            let mut rows = self.each(|peer| self.run(peer, filtered));
            rows.push(Contestant {
                name: "conex-runtime without the profile",
                ..self.run(&self.peers[0], &self.truth)
            });
            all.push(("run /bin/true with podman's seccomp profile", rows));
        }
        let rootless = self.bench.sandbox.path("run/rootless");
        std::fs::create_dir_all(&rootless)?;
        chown(&rootless, Some(USER), Some(USER))?;
        all.push(("run /bin/true as an ordinary user", self.each(|peer| self.run_rootless(peer))));
        all.push(("create, start, delete: three processes through sh", self.each(|peer| self.life(peer))));
        let able: Vec<_> = self
            .peers
            .iter()
            .filter(|peer| is_able(peer, "exec and state", self.start_sleeper(peer)))
            .collect();
        all.push(("exec /bin/true", able.iter().map(|peer| self.exec(peer)).collect()));
        all.push(("state", able.iter().map(|peer| self.state_of_sleeper(peer)).collect()));
        all.push(("delete --force of a running container", self.each(|peer| self.delete(peer))));
        Ok(all)
    }

    /// Ends what `exec` and `state` were measured on.
    pub(super) fn end_sleepers(&self) -> Result<()> {
        for peer in &self.peers {
            // Whoever has started none has nothing to delete, and has said so.
            self.command(peer, &["delete", "--force", &self.bench.sandbox.id("sleeper")]).output()?;
        }
        Ok(())
    }

    /// A hundred containers, one after the other and all at once; and a hundred floors.
    pub(super) fn many(&self) -> Vec<Scenario<'_>> {
        /// `$each` is a run of a container, `$i` its number.
        const SEQUENCE: &str =
            "i=0; while [ $i -lt 100 ]; do eval \"$each\" </dev/null >/dev/null || exit 1; i=$((i+1)); done";
        const PARALLEL: &str = "i=0; while [ $i -lt 100 ]; do eval \"$each\" </dev/null >/dev/null & pids=\"$pids $!\"; i=$((i+1)); done
            for pid in $pids; do wait $pid || exit 1; done";
        const RUN: &str = r#""$1" --root "$2" $5 run --bundle "$3" "$4-$i""#;
        let all = |script| {
            let peers = self.peers.iter().map(|peer| {
                let one = self.through_sh(peer, &self.truth, script);
                Contestant { command: Box::new(move |round| with_each((one.command)(round), RUN)), ..one }
            });
            let floor = contestant("floor: cgroup, namespaces, mounts, pivot_root", move |_| {
                let floor = self.floor_command(&NAMESPACES, true);
                let mut command = self.bench.sandbox.command("sh");
                command.args(["-c", script, "sh"]).arg(floor.get_program()).args(floor.get_args());
                with_each(command, r#""$@""#)
            });
            peers.chain([floor]).collect()
        };
        vec![
            ("100 × run /bin/true, in sequence", all(SEQUENCE)),
            ("100 × run /bin/true, in parallel", all(PARALLEL)),
        ]
    }

    fn run<'a>(&'a self, peer: &'a Peer, bundle: &'a Bundle) -> Contestant<'a> {
        let name = peer.name;
        contestant(name, move |round| {
            let mut command = self.command(peer, &["run", "--bundle"]);
            command.arg(&bundle.path).arg(self.bench.sandbox.id(&format!("{name}-{round}")));
            command
        })
    }

    /// Only crun and we can do without.
    fn run_without_cgroups<'a>(&'a self, peer: &'a Peer) -> Option<Contestant<'a>> {
        let name = peer.name;
        ["conex-runtime", "crun"].contains(&name).then(|| {
            contestant(name, move |round| {
                let mut command = self.command(peer, &["--cgroup-manager", "disabled", "run", "--bundle"]);
                command.arg(&self.bare.path).arg(self.bench.sandbox.id(&format!("{name}-{round}")));
                command
            })
        })
    }

    fn run_rootless<'a>(&'a self, peer: &'a Peer) -> Contestant<'a> {
        let name = peer.name;
        let command = move |round: usize| {
            let mut command = self.bench.sandbox.command(&peer.program);
            command
                .arg("--root")
                .arg(self.bench.sandbox.path("run/rootless").join(name))
                .args(["run", "--bundle"]);
            command.env("XDG_RUNTIME_DIR", self.bench.sandbox.path("run/rootless"));
            command.arg(&self.rootless.path).arg(self.bench.sandbox.id(&format!("{name}-{round}")));
            command
        };
        Contestant { user: Some(USER), ..contestant(name, command) }
    }

    fn life<'a>(&'a self, peer: &'a Peer) -> Contestant<'a> {
        const LIFE: &str = r#"exec >/dev/null 2>/dev/null </dev/null
            "$1" --root "$2" $5 create --bundle "$3" "$4" && "$1" --root "$2" $5 start "$4" &&
            "$1" --root "$2" $5 delete --force "$4""#;
        self.through_sh(peer, &self.sleep, LIFE)
    }

    fn through_sh<'a>(&'a self, peer: &'a Peer, bundle: &'a Bundle, script: &'static str) -> Contestant<'a> {
        let name = peer.name;
        contestant(name, move |round| {
            let mut command = self.bench.sandbox.command("sh");
            command.args(["-c", script, "sh"]).arg(&peer.program).arg(self.state(peer));
            command.arg(&bundle.path).arg(self.bench.sandbox.id(&format!("{name}-{round}")));
            command.args(self.manager());
            command
        })
    }

    fn start_sleeper(&self, peer: &Peer) -> Result<()> {
        let id = self.bench.sandbox.id("sleeper");
        self.start_one(peer, &id)
    }

    fn start_one(&self, peer: &Peer, id: &str) -> Result<()> {
        let quiet = |mut command: Command| {
            use std::process::Stdio;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
        };
        let mut create = self.command(peer, &["create", "--bundle"]);
        create.arg(&self.sleep.path).arg(id);
        let created = quiet(create)?;
        ensure!(created.success(), "create: {created}");
        let started = quiet(self.command(peer, &["start", id]))?;
        ensure!(started.success(), "start: {started}");
        Ok(())
    }

    fn exec<'a>(&'a self, peer: &'a Peer) -> Contestant<'a> {
        contestant(peer.name, move |_| {
            self.command(peer, &["exec", &self.bench.sandbox.id("sleeper"), "/bin/true"])
        })
    }

    fn state_of_sleeper<'a>(&'a self, peer: &'a Peer) -> Contestant<'a> {
        contestant(peer.name, move |_| self.command(peer, &["state", &self.bench.sandbox.id("sleeper")]))
    }

    fn delete<'a>(&'a self, peer: &'a Peer) -> Contestant<'a> {
        let name = peer.name;
        contestant(name, move |round| {
            let id = self.bench.sandbox.id(&format!("{name}-delete-{round}"));
            // A container that did not start makes the measured command fail, and says so there.
            drop(self.start_one(peer, &id));
            self.command(peer, &["delete", "--force", &id])
        })
    }

    fn floor<'a>(
        &'a self,
        name: &'static str,
        namespaces: &'static [&'static str],
        with_cgroup: bool,
    ) -> Contestant<'a> {
        contestant(name, move |_| self.floor_command(namespaces, with_cgroup))
    }

    /// The floor is told where the hierarchies are: to look for them is no part of it.
    pub(super) fn floor_command(&self, namespaces: &[&str], with_cgroup: bool) -> Command {
        let mut command = self.bench.sandbox.command(&self.floor);
        command.arg(self.truth.path.join("rootfs")).args(namespaces);
        command.args(if with_cgroup { hierarchies() } else { Vec::new() });
        command
    }
}

fn with_each(mut command: Command, each: &str) -> Command {
    command.env("each", each);
    command
}

/// What a default container gets anew.
pub(super) const NAMESPACES: [&str; 5] = ["pid", "net", "ipc", "uts", "mnt"];

/// Mount points: the one of v2, or all of v1's.
fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return vec![top.into()];
    }
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    // A link stands for a controller of a joined hierarchy; what is not v1's has no `tasks`.
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    real.map(|entry| entry.path()).filter(|path| path.join("tasks").exists()).collect()
}
