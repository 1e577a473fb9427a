// SPDX-License-Identifier: Apache-2.0
//! Promises that stand in the sources: no `unsafe` outside `sys`, an SPDX line on every file, no path-based
//! `std::fs` where files of an image are handled.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Everything in the sources that breaks a promise.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut packages: Vec<PathBuf> =
        fs::read_dir(root.join("crates"))?.flatten().map(|entry| entry.path()).collect();
    packages.extend(["tests", "bench", "fuzz", "xtask"].map(|name| root.join(name)));
    packages.sort();
    for package in packages {
        found.extend(check_unsafe(root, &package)?);
        found.extend(check_spdx(root, &package)?);
    }
    Ok(found)
}

fn check_unsafe(root: &Path, package: &Path) -> Result<Option<String>> {
    if package.ends_with("sys") {
        return Ok(None);
    }
    for name in ["src/lib.rs", "src/main.rs"] {
        let path = package.join(name);
        if path.exists() && !fs::read_to_string(&path)?.contains("#![forbid(unsafe_code)]") {
            return Ok(Some(format!("unsafe: {} does not forbid unsafe code", shown(root, &path))));
        }
    }
    Ok(None)
}

fn check_spdx(root: &Path, package: &Path) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for path in rust_files(package)? {
        if !fs::read_to_string(&path)?.starts_with("// SPDX-License-Identifier: Apache-2.0\n") {
            missing.push(format!("licence: {} does not begin with its SPDX line", shown(root, &path)));
        }
    }
    Ok(missing)
}

fn rust_files(package: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![package.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_that_breaks_a_promise() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let good = "// SPDX-License-Identifier: Apache-2.0\n#![forbid(unsafe_code)]\n";
        write("crates/image/src/lib.rs", good);
        write("crates/sys/src/lib.rs", "// SPDX-License-Identifier: Apache-2.0\n");
        write("crates/cli/src/main.rs", "// SPDX-License-Identifier: Apache-2.0\nfn main() {}\n");
        write("tests/src/lib.rs", good);
        write("bench/src/main.rs", good);
        write("fuzz/src/lib.rs", good);
        write("xtask/src/main.rs", "#![forbid(unsafe_code)]\n");
        let found = check(root.path()).unwrap();
        assert_eq!(
            found,
            [
                "unsafe: crates/cli/src/main.rs does not forbid unsafe code",
                "licence: xtask/src/main.rs does not begin with its SPDX line",
            ]
        );
    }
}
