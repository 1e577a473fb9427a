// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile from the outside world, as a configuration has it.

use serde_json::{Value, json};

use crate::require::Requirement;

const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// The profile that podman installs, as an engine resolves it for a container without further capabilities.
pub fn podmans_profile() -> Requirement<Value> {
    let text = std::fs::read(PROFILE).map_err(|_| format!("needs {PROFILE}"))?;
    let mut profile: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let object = profile.as_object_mut().ok_or("a profile is an object")?;
    object.remove("archMap");
    object.insert("architectures".into(), json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    let rules = object["syscalls"].as_array_mut().ok_or("rules are a list")?;
    rules.retain(|rule| {
        let arches = rule["includes"]["arches"].as_array();
        rule["includes"]["caps"].is_null()
            && arches.is_none_or(|arches| arches.iter().any(|arch| arch == "amd64"))
    });
    for rule in rules {
        let rule = rule.as_object_mut().ok_or("a rule is an object")?;
        rule.retain(|key, value| {
            ["names", "action", "args", "errnoRet"].contains(&key.as_str()) && !value.is_null()
        });
    }
    Ok(profile)
}
