// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: conversion.md
//!
//! What the image wishes, written over a template. Pure but for looking up names in the root filesystem.

use conex_spec::image::ImageConfig;
use conex_spec::runtime::Config;

use super::template::{self, mount};
use super::user::lookup_user;
use super::{Overrides, Rootfs, User};
use crate::{Error, ErrorKind, Result, Wrap};

/// The runtime configuration for `conex run`: the image's wishes, the overrides, and the default sandbox
/// (capabilities, masked paths, mounts, namespaces). `rootless` is for a runtime that is root only in a user namespace.
/// `root.path` is `rootfs`; the caller adds mounts, limits and cgroup path.
///
/// A process that is not root starts without capabilities. Volumes of the image are left to the caller.
pub fn runtime_config(
    image: &ImageConfig,
    overrides: &Overrides,
    rootfs: &dyn Rootfs,
    rootless: bool,
) -> Result<Config> {
    let mut config = template::container(rootless);
    annotate(&mut config, image)?;
    let wish = &image.config;
    let process = config.process.as_mut().expect("the template has a process");
    for variable in wish.env.iter().chain(&overrides.env) {
        set_env(&mut process.env, variable, Clash::Replace)?;
    }
    let entrypoint = overrides.entrypoint.as_ref().unwrap_or(&wish.entrypoint);
    // Whoever replaces the entry point does not want the arguments of the old one.
    let default_args = if overrides.entrypoint.is_some() { &[][..] } else { &wish.cmd };
    process.args =
        entrypoint.iter().chain(overrides.args.as_deref().unwrap_or(default_args)).cloned().collect();
    process.cwd = absolute(overrides.cwd.as_deref().unwrap_or(&wish.working_dir));
    process.terminal = overrides.terminal;
    let user = lookup_user(overrides.user.as_deref().unwrap_or(&wish.user), rootfs)?;
    set_user(process, &user)?;
    // A group that may do less than others must count, also when it is the primary one (CVE-2023-25173).
    if !process.user.additional_gids.is_empty() && !process.user.additional_gids.contains(&user.gid) {
        process.user.additional_gids.insert(0, user.gid);
    }
    if user.uid != 0
        && let Some(capabilities) = &mut process.capabilities
    {
        capabilities.effective.clear();
        capabilities.permitted.clear();
    }
    config.hostname = overrides.hostname.clone().unwrap_or_default();
    Ok(config)
}

/// The configuration that umoci writes for an image.
pub(super) fn umoci_config(image: &ImageConfig, rootfs: &dyn Rootfs) -> Result<Config> {
    let mut config = template::umoci();
    annotate(&mut config, image)?;
    let wish = &image.config;
    let process = config.process.as_mut().expect("the template has a process");
    for variable in &wish.env {
        set_env(&mut process.env, variable, Clash::Replace)?;
    }
    let args: Vec<String> = wish.entrypoint.iter().chain(&wish.cmd).cloned().collect();
    if !args.is_empty() {
        process.args = args;
    }
    process.cwd = absolute(&wish.working_dir);
    set_user(process, &lookup_user(&wish.user, rootfs)?)?;
    let options = ["rw", "nosuid", "nodev", "noexec", "relatime"];
    config.mounts.extend(wish.volumes.keys().map(|volume| mount(volume, "tmpfs", "none", &options)));
    Ok(config)
}

fn set_user(process: &mut conex_spec::runtime::Process, user: &User) -> Result<()> {
    process.user.uid = user.uid;
    process.user.gid = user.gid;
    process.user.additional_gids.clone_from(&user.additional_gids);
    let home = user.home.as_deref().unwrap_or("/");
    set_env(&mut process.env, &format!("HOME={home}"), Clash::Keep)
}

/// The annotations of conversion.md; labels win.
fn annotate(config: &mut Config, image: &ImageConfig) -> Result<()> {
    if image.os != "linux" {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the image is for {:?}, not for linux", image.os),
        ));
    }
    let ports: Vec<&str> = image.config.exposed_ports.keys().map(String::as_str).collect();
    let values = [
        ("os", image.os.clone()),
        ("architecture", image.architecture.clone()),
        ("variant", image.variant.clone().unwrap_or_default()),
        ("os.version", image.os_version.clone().unwrap_or_default()),
        ("os.features", image.os_features.join(",")),
        ("author", image.author.clone().unwrap_or_default()),
        ("created", image.created.clone().unwrap_or_default()),
        ("stopSignal", image.config.stop_signal.clone()),
        ("exposedPorts", ports.join(",")),
    ];
    for (key, value) in values.into_iter().filter(|(_, value)| !value.is_empty()) {
        config.annotations.insert(format!("org.opencontainers.image.{key}"), value);
    }
    config.annotations.extend(image.config.labels.clone());
    Ok(())
}

/// What to do with a variable that is set already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clash {
    Replace,
    Keep,
}

fn set_env(env: &mut Vec<String>, variable: &str, clash: Clash) -> Result<()> {
    let name = variable.split_once('=').map(|(name, _)| name).filter(|name| !name.is_empty());
    let malformed = || Error::invalid(format!("environment variable {variable:?} is not NAME=VALUE"));
    let name = name.ok_or_else(malformed).wrap(|| "image configuration")?;
    let old = env.iter_mut().find(|old| old.split_once('=').is_some_and(|(old, _)| old == name));
    match old {
        Some(old) if clash == Clash::Replace => variable.clone_into(old),
        Some(_) => {}
        None => env.push(variable.to_owned()),
    }
    Ok(())
}

/// The directory as an absolute path; `/` where none is given.
fn absolute(cwd: &str) -> String {
    if cwd.starts_with('/') { cwd.to_owned() } else { format!("/{cwd}") }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use conex_spec::image::ContainerConfig;
    use serde_json::{Value, json};

    use super::*;

    /// A root filesystem without files.
    struct Nothing;

    impl Rootfs for Nothing {
        fn open(&self, _: &Path) -> Result<Option<File>> {
            Ok(None)
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image() -> ImageConfig {
        ImageConfig {
            os: "linux".to_owned(),
            architecture: "arm".to_owned(),
            variant: Some("v7".to_owned()),
            author: Some("me".to_owned()),
            config: ContainerConfig {
                user: "7:8".to_owned(),
                env: strings(&["PATH=/bin", "A=1=2"]),
                entrypoint: strings(&["/entry"]),
                cmd: strings(&["arg"]),
                working_dir: "/work".to_owned(),
                stop_signal: "SIGINT".to_owned(),
                exposed_ports: [("80/tcp".to_owned(), json!({})), ("53/udp".to_owned(), json!({}))].into(),
                volumes: [("/data".to_owned(), json!({}))].into(),
                labels: [
                    ("a".to_owned(), "b".to_owned()),
                    ("org.opencontainers.image.author".to_owned(), "you".to_owned()),
                ]
                .into(),
                ..ContainerConfig::default()
            },
            ..ImageConfig::default()
        }
    }

    fn value(config: &Config) -> Value {
        serde_json::to_value(config).unwrap()
    }

    #[test]
    fn the_image_is_heeded() {
        let config = value(&runtime_config(&image(), &Overrides::default(), &Nothing, false).unwrap());
        let process = &config["process"];
        assert_eq!(process["args"], json!(["/entry", "arg"]));
        assert_eq!(process["cwd"], "/work");
        assert_eq!(process["user"], json!({"uid": 7, "gid": 8}));
        assert_eq!(process["env"], json!(["PATH=/bin", "A=1=2", "HOME=/"]));
        assert_eq!(process["capabilities"].get("effective"), None, "not root: no capabilities");
        let annotations = &config["annotations"];
        assert_eq!(annotations["org.opencontainers.image.author"], "you", "labels win");
        assert_eq!(annotations["org.opencontainers.image.exposedPorts"], "53/udp,80/tcp");
        assert_eq!(annotations["org.opencontainers.image.variant"], "v7");
        assert_eq!(annotations["org.opencontainers.image.stopSignal"], "SIGINT");
    }

    #[test]
    fn overrides_win() {
        let overrides = Overrides {
            entrypoint: Some(strings(&["/other"])),
            env: strings(&["A=3", "HOME=/h"]),
            cwd: Some("rel".to_owned()),
            user: Some("0".to_owned()),
            hostname: Some("box".to_owned()),
            terminal: true,
            args: None,
        };
        let config = value(&runtime_config(&image(), &overrides, &Nothing, true).unwrap());
        assert_eq!(config["process"]["args"], json!(["/other"]), "Cmd goes with Entrypoint");
        assert_eq!(config["process"]["env"], json!(["PATH=/bin", "A=3", "HOME=/h"]));
        assert_eq!(config["process"]["cwd"], "/rel");
        assert_eq!(config["hostname"], "box");
        assert!(!config.to_string().contains("gid=5"), "rootless");
        let args = Overrides { args: Some(strings(&["x"])), ..Overrides::default() };
        let config = runtime_config(&image(), &args, &Nothing, false).unwrap();
        assert_eq!(config.process.unwrap().args, ["/entry", "x"]);
    }

    #[test]
    fn umoci_differs_where_it_does() {
        let config = value(&umoci_config(&image(), &Nothing).unwrap());
        assert_eq!(config["hostname"], "umoci-default");
        assert_eq!(config["process"]["env"], json!(["PATH=/bin", "TERM=xterm", "A=1=2", "HOME=/"]));
        let volume = config["mounts"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(volume["destination"], "/data");
        assert_eq!(volume["type"], "tmpfs");
        let empty = ImageConfig { os: "linux".to_owned(), ..ImageConfig::default() };
        let config = umoci_config(&empty, &Nothing).unwrap();
        assert_eq!(config.process.unwrap().args, ["sh"]);
        assert!(umoci_config(&ImageConfig { os: "windows".into(), ..empty }, &Nothing).is_err());
    }

    #[test]
    fn malformed_wishes_are_errors() {
        for env in ["*", "=x", ""] {
            let mut image = image();
            image.config.env = strings(&[env]);
            assert!(runtime_config(&image, &Overrides::default(), &Nothing, false).is_err(), "{env:?}");
        }
        let mut image = image();
        image.config.user = "nobody".to_owned();
        assert!(umoci_config(&image, &Nothing).is_err());
    }
}
