// SPDX-License-Identifier: Apache-2.0
//! Promises that stand in the sources: no `unsafe` outside `sys`, an SPDX line on every file, and of the invariants in
//! ARCHITECTURE.md those that a word in the wrong room would break ([`PROMISES`]). Tests are free.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Words that some rooms do without.
struct Promise {
    /// What is promised, and by which invariant of ARCHITECTURE.md.
    name: &'static str,
    /// Files and directories where it holds.
    rooms: &'static [&'static str],
    words: &'static [&'static str],
    /// Files where the word is right, and why.
    except: &'static [(&'static str, &'static str)],
}

const PROMISES: [Promise; 5] = [
    Promise {
        name: "one thread (1)",
        rooms: &["crates/spec/src", "crates/sys/src", "crates/runtime/src"],
        words: &["thread::spawn", "thread::scope", "thread::Builder", "async fn", "tokio::"],
        except: &[],
    },
    Promise {
        name: "no I/O (4)",
        rooms: &[
            "crates/spec/src",
            "crates/runtime/src/plan",
            "crates/runtime/src/seccomp",
            "crates/build/src/containerfile",
            "crates/build/src/graph",
        ],
        words: &[
            "fs::",
            "File::",
            "Command::",
            "net::Tcp",
            "env::var",
            "println!",
            "conex_sys::file",
            "conex_sys::mount",
        ],
        except: &[],
    },
    Promise {
        name: "libraries do not read the environment (5)",
        rooms: &[
            "crates/spec/src",
            "crates/sys/src",
            "crates/image/src",
            "crates/registry/src",
            "crates/serve/src",
            "crates/engine/src",
            "crates/build/src",
            "crates/runtime/src",
        ],
        words: &["env::var", "env::home_dir", "env::temp_dir", "env::current_dir"],
        except: &[
            ("crates/runtime/src/cli/", "the runtime's command line reads it for the rest of the program"),
            ("crates/runtime/src/protect.rs", "hands it on unread to the copy of itself"),
        ],
    },
    Promise {
        name: "whole files or none (9)",
        rooms: &[
            "crates/image/src",
            "crates/engine/src",
            "crates/build/src",
            "crates/serve/src",
            "crates/runtime/src",
        ],
        words: &["fs::write(", "File::create(", ".create(true)", ".truncate(true)"],
        except: &[
            ("crates/build/src/execute/cache.rs", "an empty file to lock"),
            ("crates/engine/src/container/directory.rs", "an empty file to lock"),
            (
                "crates/engine/src/container/host_files.rs",
                "in a container's directory before its record makes it one",
            ),
            ("crates/runtime/src/cli/log.rs", "a log grows"),
            ("crates/runtime/src/create.rs", "a file of procfs"),
            ("crates/runtime/src/monitor/log.rs", "a log grows"),
            ("crates/runtime/src/trace.rs", "a trace grows, and is worth reading when it was cut off"),
            ("crates/serve/src/storage/mod.rs", "an empty file: its name is what counts"),
        ],
    },
    Promise {
        name: "fallbacks for old kernels are in sys (11)",
        rooms: &[
            "crates/spec",
            "crates/image",
            "crates/engine",
            "crates/serve",
            "crates/registry",
            "crates/cli",
        ],
        words: &["KERNEL("],
        except: &[],
    },
];

/// Crates that handle files of an image or a container, and so must not open them by path.
const PATHLESS: &[&str] = &["image", "runtime"];

/// Everything in the sources that breaks a promise.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    found.extend(PATHLESS.iter().filter_map(|name| check_paths(&root.join("crates").join(name))));
    let mut packages: Vec<PathBuf> =
        fs::read_dir(root.join("crates"))?.flatten().map(|entry| entry.path()).collect();
    packages.extend(["tests", "bench", "fuzz", "xtask"].map(|name| root.join(name)));
    packages.sort();
    for package in packages {
        found.extend(check_unsafe(root, &package)?);
        found.extend(check_spdx(root, &package)?);
    }
    for promise in &PROMISES {
        found.extend(check_promise(root, promise)?);
    }
    Ok(found)
}

fn check_promise(root: &Path, promise: &Promise) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let rooms = promise.rooms.iter().map(|room| root.join(room)).filter(|room| room.exists());
    for path in rooms.map(|room| rust_files(&room)).collect::<Result<Vec<_>>>()?.concat() {
        let name = shown(root, &path);
        if is_test(&name) || promise.except.iter().any(|(place, _)| name.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        // What the kernel offers is told in comments.
        let lines = shipped(&text).filter(|(_, line)| {
            promise.words.iter().any(|word| line.contains(word))
                && (!line.trim_start().starts_with("//") || promise.words == ["KERNEL("])
        });
        broken.extend(
            lines.map(|(number, line)| format!("{}: {name}:{number}: {}", promise.name, line.trim())),
        );
    }
    Ok(broken)
}

fn is_test(name: &str) -> bool {
    ["/tests/", "/tests.rs", "/testing.rs"].iter().any(|mark| name.contains(mark))
}

/// The numbered lines of a file before its tests, which stand at its end.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    lines.enumerate().map(|(index, line)| (index + 1, line))
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

/// clippy does the checking; here, that it has been told to.
fn check_paths(package: &Path) -> Option<String> {
    let told = fs::read_to_string(package.join("clippy.toml")).unwrap_or_default();
    let bans = ["std::fs::read", "std::fs::write", "std::fs::File::open", "std::fs::remove_dir_all"];
    let missing = bans.iter().find(|ban| !told.contains(&format!("\"{ban}\"")))?;
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    Some(format!("paths: crates/{name}/clippy.toml does not disallow {missing}"))
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
        write("crates/runtime/clippy.toml", &fs::read_to_string("../crates/runtime/clippy.toml").unwrap());
        write("crates/sys/src/lib.rs", "// SPDX-License-Identifier: Apache-2.0\n");
        write("crates/cli/src/main.rs", "// SPDX-License-Identifier: Apache-2.0\nfn main() {}\n");
        write("tests/src/lib.rs", good);
        write("bench/src/main.rs", good);
        write("fuzz/src/lib.rs", good);
        write("xtask/src/main.rs", "#![forbid(unsafe_code)]\n");
        let spdx = "// SPDX-License-Identifier: Apache-2.0\n";
        let quiet = "// fs::write(\n#[cfg(test)]\nmod tests { fn f() { std::fs::write(1, 2); } }\n";
        write("crates/image/src/quiet.rs", &format!("{spdx}{quiet}"));
        write("crates/image/src/loud.rs", &format!("{spdx}fn f() {{ std::fs::write(1, 2) }}\n"));
        write("crates/image/src/tests.rs", &format!("{spdx}fn f() {{ std::fs::write(1, 2) }}\n"));
        write("crates/runtime/src/protect.rs", &format!("{spdx}fn f() {{ std::env::vars_os(); }}\n"));
        write("crates/runtime/src/plan/mod.rs", &format!("{spdx}fn f() {{ std::env::var(1); }}\n"));
        let found = check(root.path()).unwrap();
        assert_eq!(
            found,
            [
                "paths: crates/image/clippy.toml does not disallow std::fs::read",
                "unsafe: crates/cli/src/main.rs does not forbid unsafe code",
                "licence: xtask/src/main.rs does not begin with its SPDX line",
                "no I/O (4): crates/runtime/src/plan/mod.rs:2: fn f() { std::env::var(1); }",
                "libraries do not read the environment (5): crates/runtime/src/plan/mod.rs:2: fn f() { std::env::var(1); }",
                "whole files or none (9): crates/image/src/loud.rs:2: fn f() { std::fs::write(1, 2) }",
            ]
        );
    }
}
