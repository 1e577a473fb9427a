// SPDX-License-Identifier: Apache-2.0
//! The project's own chores, as `cargo xtask VERB`: no shell scripts, no programs that a fresh machine lacks.
#![forbid(unsafe_code)]

mod bench;
mod check_deps;
mod demo;
mod dist;
mod host;
mod shell;
mod sizes;
mod test;
mod vm;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask VERB

  demo [--image REF]   build both programs and run a container, from a registry on loopback to its output;
                       with --image, from that registry
  test [OPTIONS]       everything a change must pass; installs what it needs where it may
      --must TIERS     tiers whose tests must not be skipped: userns,root,vm
      --only FILTER    only tests whose name has this in it, and no other check
      --offline        install nothing
  dist                 both programs, static and stripped, in target/dist/, with their other names as links
  bench runtime|pull|image|build   tables against peers and floors, from one run; [--rounds N]
      --vm             runtime: in a virtual machine with pure cgroup v2 (emulated: only ratios mean something)
      --systemd-cgroup runtime: control groups by systemd, with --vm by that of the machine
  vm [OPTIONS] -- CMD  runs a command in a virtual machine with both programs; its output, its exit status
      --kernel V       5.10, 6.1, 6.12, …; else what Debian installs here
      --debian         Debian's programs instead of busybox; --systemd: with systemd as process 1,
                       --engines: and with podman, docker, containerd
      --selinux        with Debian's policy enforced
      --memory MIB, --cpus N, --limit SECONDS, --append WORDS (to the kernel's command line)
      --share DIR      is /share there, the working directory; /share/out comes back to DIR/out
      --disk FILE      is /disk there, and keeps its content
      --program FILE   on the path there, too; may be repeated
      --console        shows what the kernel said
  check-deps           arrows between rooms, the runtime's whitelist, licences, bans, duplicates
  sizes                the longest files and functions
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let wants_help =
        rest.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h");
    let result = match verb.as_str() {
        _ if wants_help => help(),
        "demo" => demo::main(&rest),
        "test" => test::main(&rest),
        "dist" => dist::main(),
        "bench" => bench::main(&rest),
        "check-deps" => check_deps::main(),
        "vm" => return vm::main(&rest),
        "sizes" => sizes::main(),
        "" | "help" | "--help" | "-h" => help(),
        other => Err(anyhow::anyhow!("no verb {other:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> anyhow::Result<()> {
    print!("{HELP}");
    Ok(())
}
