// SPDX-License-Identifier: Apache-2.0
//! From a description to QEMU's command line and the first archive.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::initramfs::Archive;
use super::kernel::{self, Kernel};
use super::running::Running;
use super::{Machine, System, cache, root, share, units};
use crate::busybox;
use crate::require::{Requirement, program};

/// Less to emulate: no mitigations, no waiting for grace periods, no self-tests.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1 mitigations=off no5lvl nokaslr random.trust_cpu=on \
    rcupdate.rcu_expedited=1 cryptomgr.notests tsc=reliable no_timer_check audit=0 \
    systemd.unit=multi-user.target systemd.show_status=no";
impl Machine {
    /// Boots it when no other machine runs; the command starts as soon as its system is up.
    pub fn boot(&self, command: &[&str]) -> Requirement<Running> {
        let qemu = program("qemu-system-x86_64")?;
        let kernel = kernel::fetch(self.kernel.as_deref())?;
        let files = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = |name: &str| files.path().join(name);
        fs::write(path("initramfs"), self.initramfs(&kernel, command)?).map_err(|error| error.to_string())?;
        // A test that is killed leaves no machine running.
        let mut machine = Command::new(program("setpriv")?);
        machine.args(["--pdeathsig", "KILL"]).arg(qemu);
        machine.args(["-accel", "tcg,thread=multi,tb-size=512", "-machine", "pc", "-cpu", "max"]);
        machine.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        machine.arg("-smp").arg(self.processors.to_string()).arg("-m").arg(self.memory.to_string());
        machine.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(path("initramfs"));
        let selinux = if self.selinux { "security=selinux" } else { "" };
        machine.arg("-append").arg(format!("{PARAMETERS} {selinux} {}", self.parameters.join(" ")));
        machine.arg("-serial").arg(format!("file:{}", path("console").display()));
        machine.args(["-device", "virtio-serial"]);
        for name in ["stdout", "stderr"] {
            machine.arg("-chardev").arg(format!("file,id={name},path={}", path(name).display()));
            machine.arg("-device").arg(format!("virtserialport,chardev={name},name={name}"));
        }
        self.disks(&kernel, files.path(), &mut machine)?;
        let errors = File::create(path("qemu")).map_err(|error| error.to_string())?;
        machine.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        Running::start(machine, files, self, command.join(" "), cache::turn()?)
    }

    /// Each disk with its name as serial number, by which `/init` finds it.
    fn disks(&self, kernel: &Kernel, files: &Path, machine: &mut Command) -> Requirement {
        let mut disk = |name: &str, image: &Path, options: &str| {
            // What QEMU has been given survives QEMU: a power cut loses the machine's memory, not the host's.
            let drive =
                format!("if=none,id={name},format=raw,cache=unsafe,{options},file={}", image.display());
            machine.arg("-drive").arg(drive);
            machine.arg("-device").arg(format!("virtio-blk-pci,drive={name},serial={name}"));
        };
        disk("modules", &kernel.modules, "readonly=on");
        if self.system != System::Busybox {
            disk("root", &root::image(self.system)?, "snapshot=on");
        }
        if let Some(directory) = &self.share {
            disk("share", &share::image_of(directory, files)?, "readonly=off");
            disk("result", &share::result(files)?, "readonly=off");
        }
        if let Some(image) = &self.disk {
            share::survivor(image)?;
            disk("survivor", image, "readonly=off");
        }
        Ok(())
    }

    fn initramfs(&self, kernel: &Kernel, command: &[&str]) -> Requirement<Vec<u8>> {
        let io = |error: std::io::Error| error.to_string();
        let mut archive = Archive::default();
        busybox::base_entries()?.iter().for_each(|entry| archive.entry_of(entry));
        for name in ["new", "run", "lib", "lib64", "drivers", "vm", "vm/bin"] {
            archive.directory(name);
        }
        for (number, driver) in kernel.drivers.iter().enumerate() {
            archive.program(&format!("drivers/{number:02}"), driver).map_err(io)?;
        }
        for program in &self.programs {
            let name =
                program.file_name().ok_or_else(|| format!("{} names no program", program.display()))?;
            archive.program(&format!("vm/bin/{}", name.to_string_lossy()), program).map_err(io)?;
            if self.system == System::Busybox {
                archive.libraries_of(program).map_err(io)?;
            }
        }
        let words: Vec<String> =
            command.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        let system = match self.system {
            System::Busybox => "busybox",
            System::Debian => "debian",
            System::Systemd | System::Engines => "systemd",
        };
        archive.file("vm/command", 0o755, format!("exec {}\n", words.join(" ")).as_bytes());
        archive.file("vm/machine", 0o644, format!("SYSTEM={system}\n").as_bytes());
        archive.file("vm/start", 0o755, include_bytes!("guest/start"));
        archive.file("vm/run", 0o755, include_bytes!("guest/run"));
        archive.file("vm/bin/as-user", 0o755, include_bytes!("guest/as-user"));
        archive.file("init", 0o755, include_bytes!("guest/init"));
        units::add(&mut archive);
        Ok(archive.finish())
    }
}
