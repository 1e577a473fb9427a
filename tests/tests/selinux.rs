// SPDX-License-Identifier: Apache-2.0
//! SELinux labels of containers, of their mounts and of what enters them, under Debian's policy, enforced. The types
//! are those of the machine's own module (crates/testkit/src/vm/guest/container.cil).

use conex_testkit::vm::{Machine, System};
use conex_testkit::{Sandbox, binaries, bundle::Bundle, needs, require};
use serde_json::Value;

/// Of a program, and of the files that it may read and not write.
const CONTAINER: &str = "system_u:system_r:container_t:s0";
const FILES: &str = "system_u:object_r:container_file_t:s0";

/// A bundle in a sandbox, for `/share` of a machine.
fn bundle(sandbox: &Sandbox, name: &str, script: &str, labels: [&str; 2]) -> require::Requirement {
    let mut bundle = Bundle::create(&sandbox.path("machine").join(name), &["sh", "-c", script])?;
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{name}").into();
        let [process, mounts] = labels.map(Value::from);
        config["process"]["selinuxLabel"] = process;
        config["linux"]["mountLabel"] = mounts;
    });
    Ok(())
}

/// What a process is, whether it may write a file that it owns, and which mounts have the label.
const LOOK: &str = "cat /proc/self/attr/current; echo x 2> /dev/null > /file && echo writes || echo refused
    awk '/context=system_u:object_r:container_file_t:s0/ { print $5 }' /proc/self/mountinfo";

const SCRIPT: &str = r#"
echo "machine: $(getenforce) $(id -Z)"
runcon system_u:system_r:getty_t:s0 cat /etc/shadow && echo "the policy is not enforced"
chcon --recursive system_u:object_r:container_file_t:s0 /share/*/rootfs
runtime="timeout 60 conex-runtime"
echo "free: $($runtime run --bundle /share/free free | tr '\0' ' ' | xargs)"
echo "confined: $($runtime run --bundle /share/confined confined | tr '\0' ' ' | xargs)"
$runtime run --detach --bundle /share/sleeps sleeps > /dev/null 2>&1 < /dev/null
init=$($runtime state sleeps | jq .pid)
echo "init: $(tr -d '\0' < /proc/$init/attr/current)"
echo "queues: $(stat --format %C /proc/$init/root/dev/mqueue)"
echo "exec: $($runtime exec sleeps cat /proc/self/attr/current | tr -d '\0')"
label=system_u:system_r:initrc_t:s0
echo "told: $($runtime exec --process-label $label sleeps cat /proc/self/attr/current | tr -d '\0')"
$runtime run --bundle /share/unknown unknown; echo "unknown: $?"
$runtime exec --process-label system_u:system_r:missing_t:s0 sleeps true; echo "unknown to exec: $?"
$runtime run --bundle /share/mounts mounts; echo "unknown to mounts: $?"
# A type that is there, and may begin with another file only.
$runtime exec --process-label system_u:system_r:getty_t:s0 sleeps true; echo "refused: $?"
$runtime delete --force sleeps; echo "deleted: $?"
"#;

#[test]
fn vm_selinux_labels_take_hold() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, "free", LOOK, ["", ""]));
    needs!(bundle(&sandbox, "confined", LOOK, [CONTAINER, FILES]));
    needs!(bundle(&sandbox, "sleeps", "sleep 1000", [CONTAINER, FILES]));
    needs!(bundle(&sandbox, "unknown", "true", ["system_u:system_r:missing_t:s0", FILES]));
    needs!(bundle(&sandbox, "mounts", "true", [CONTAINER, "system_u:object_r:missing_t:s0"]));
    let machine = Machine {
        system: System::Systemd,
        selinux: true,
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    let ended = needs!(machine.run(SCRIPT)).output.success();
    let labelled = "/dev /dev/pts /dev/shm /proc/kcore /proc/keys /proc/sysrq-trigger";
    let said = [
        "machine: Enforcing system_u:system_r:initrc_t:s0".to_owned(),
        "free: system_u:system_r:initrc_t:s0 writes".to_owned(),
        format!("confined: {CONTAINER} refused {labelled}"),
        format!("init: {CONTAINER}"),
        format!("queues: {FILES}"),
        format!("exec: {CONTAINER}"),
        "told: system_u:system_r:initrc_t:s0".to_owned(),
        "unknown: 1".to_owned(),
        "unknown to exec: 255".to_owned(),
        "unknown to mounts: 1".to_owned(),
        "refused: 255".to_owned(),
        "deleted: 0".to_owned(),
    ];
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), said, "{ended}");
    let told =
        "unable to apply SELinux label system_u:system_r:missing_t:s0 (does the loaded policy know it?)";
    assert_eq!(ended.stderr.matches(told).count(), 2, "{ended}");
    let refused = "(does SELinux' policy let system_u:system_r:getty_t:s0 begin with this file?)";
    assert!(ended.stderr.contains(refused), "{ended}");
    assert!(ended.stderr.contains("context=system_u:object_r:missing_t:s0"), "{ended}");
    sandbox.finish();
}
