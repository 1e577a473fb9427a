// SPDX-License-Identifier: Apache-2.0
//! AppArmor profiles of containers and of what enters them, under a kernel that enforces them.

use conex_testkit::vm::{Machine, System};
use conex_testkit::{Sandbox, binaries, bundle::Bundle, needs, require};
use serde_json::Value;

/// A bundle in a sandbox, for `/share` of a machine.
fn bundle(
    sandbox: &Sandbox,
    name: &str,
    script: &str,
    change: impl FnOnce(&mut Value),
) -> require::Requirement {
    let mut bundle = Bundle::create(&sandbox.path("machine").join(name), &["sh", "-c", script])?;
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{name}").into();
        change(config);
    });
    Ok(())
}

/// What a confined process is called, and whether it may read what its profile denies.
const LOOK: &str = "cat /proc/self/attr/current; cat /etc/motd 2> /dev/null || echo denied";

const APPARMOR: &str = r#"
[ -d /sys/kernel/security/apparmor ] || mount -t securityfs securityfs /sys/kernel/security
echo 'profile conex-test flags=(attach_disconnected) { file, capability, signal, deny /etc/motd r, }' |
    apparmor_parser --replace --skip-cache --quiet || echo "no profile: $?"
runtime="timeout 60 conex-runtime"
echo "run: $($runtime run --bundle /share/confined confined | xargs)"
$runtime run --detach --bundle /share/sleeps sleeps > /dev/null 2>&1 < /dev/null
echo "init: $(cat /proc/$($runtime state sleeps | jq .pid)/attr/current)"
echo "exec: $($runtime exec sleeps sh -c "$(cat /share/look)" | xargs)"
$runtime run --detach --bundle /share/free free > /dev/null 2>&1 < /dev/null
echo "free: $($runtime exec free cat /proc/self/attr/current)"
echo "told: $($runtime exec --apparmor conex-test free sh -c "$(cat /share/look)" | xargs)"
$runtime run --bundle /share/unknown unknown; echo "unknown: $?"
$runtime exec --apparmor missing free true; echo "unknown to exec: $?"
$runtime delete --force sleeps; $runtime delete --force free
"#;

#[test]
fn vm_apparmor_profiles_take_hold() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let profile =
        |name: &'static str| move |config: &mut Value| config["process"]["apparmorProfile"] = name.into();
    needs!(bundle(&sandbox, "confined", LOOK, profile("conex-test")));
    needs!(bundle(&sandbox, "sleeps", "sleep 1000", profile("conex-test")));
    needs!(bundle(&sandbox, "free", "sleep 1000", |_| ()));
    needs!(bundle(&sandbox, "unknown", "true", profile("missing")));
    std::fs::write(sandbox.path("machine/look"), LOOK).unwrap();
    let machine = Machine {
        system: System::Systemd,
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    let ended = needs!(machine.run(APPARMOR)).output.success();
    let said = [
        "run: conex-test (enforce) denied",
        "init: conex-test (enforce)",
        "exec: conex-test (enforce) denied",
        "free: unconfined",
        "told: conex-test (enforce) denied",
        "unknown: 1",
        "unknown to exec: 255",
    ];
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), said, "{ended}");
    assert_eq!(ended.stderr.matches("unable to apply apparmor profile missing").count(), 2, "{ended}");
    sandbox.finish();
}
