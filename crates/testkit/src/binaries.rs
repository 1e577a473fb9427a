// SPDX-License-Identifier: Apache-2.0
//! The two programs under test. `cargo xtask test` builds them once and names them in the environment; without
//! it, the first test that asks builds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names the built `conex`.
pub const CONEX: &str = "CONEX_TEST_CONEX";
/// Names the built `conex-runtime`.
pub const RUNTIME: &str = "CONEX_TEST_RUNTIME";

/// The names under which `conex` is another tool.
pub const CONEX_NAMES: [&str; 6] = ["skopeo", "umoci", "buildah", "podman", "docker", "oci-image-tool"];
/// The names under which `conex-runtime` is another runtime.
pub const RUNTIME_NAMES: [&str; 2] = ["runc", "crun"];

/// The program before the bundle.
pub fn conex() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named_or_built(CONEX, "conex"))
}

/// The program from the bundle on.
pub fn runtime() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named_or_built(RUNTIME, "conex-runtime"))
}

/// Both programs side by side in a directory, with every personality as a symlink. What was there is replaced in
/// one step, so that a program that runs meanwhile is not disturbed.
pub fn install(directory: &Path, conex: &Path, runtime: &Path) {
    fs::create_dir_all(directory).expect("make the directory for programs");
    for (program, name, links) in
        [(conex, "conex", &CONEX_NAMES[..]), (runtime, "conex-runtime", &RUNTIME_NAMES[..])]
    {
        let place = |make: &dyn Fn(&Path) -> std::io::Result<()>, name: &str| {
            let staged = directory.join(format!(".{name}"));
            let _ = fs::remove_file(&staged);
            make(&staged).and_then(|()| fs::rename(&staged, directory.join(name))).expect("place a program");
        };
        place(
            &|staged| fs::hard_link(program, staged).or_else(|_| fs::copy(program, staged).map(drop)),
            name,
        );
        for link in links {
            place(&|staged| std::os::unix::fs::symlink(name, staged), link);
        }
    }
}

fn named_or_built(variable: &str, package: &str) -> PathBuf {
    std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| build(package))
}

fn build(package: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", package, "--manifest-path"])
        .arg(&manifest)
        .status()
        .expect("start cargo");
    assert!(built.success(), "cargo build --package {package} failed");
    target_directory().join("debug").join(package)
}

/// Where cargo puts what it builds: a test binary lives in `<target>/<profile>/deps`.
pub fn target_directory() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let target = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    target.expect("built by cargo, so inside a target directory").to_owned()
}
