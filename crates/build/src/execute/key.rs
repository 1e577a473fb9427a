// SPDX-License-Identifier: Apache-2.0
//! What decides on a step's result, but for the files that it takes: the layers below by their content, the step itself,
//! and what becomes of times. Every property is written here by name, so that a new one asks whether it belongs in.
//!
//! ```text
//!  place = sha256 of fields (`Content::add`): version, layers below, times, kind of step, its properties in order
//!  list  = field: number of elements, then each element
//! ```
//! Not in it: secrets, what is in cache mounts, names of stages, numbers of nodes, proxies.

use conex_image::layer::pack::Times;
use conex_spec::Digest;

use super::Layer;
use crate::containerfile::{CacheSharing, Device, FileMode, Mount, MountKind, Network};
use crate::copy::Content;
use crate::graph::{Copy, Directory, Run, Source, Step, Unpack};

/// Another way of making keys, or of doing steps, has another number.
pub(super) const VERSION: u32 = 2;

/// See the module.
pub(super) fn place(below: &[Layer], step: &Step, times: Times) -> Digest {
    let mut key = Key(Content::new());
    key.number(VERSION.into());
    key.list(below, |key, layer| key.text(layer.diff_id.0.as_str()));
    match times {
        Times::Kept => key.text("kept"),
        Times::AtMost(latest) => key.text(&format!("at most {latest}")),
        Times::All(all) => key.text(&format!("all {all}")),
    }
    match step {
        // Their results are found by what they are, not by a key.
        Step::Scratch | Step::Image(_) | Step::Context(_) => key.text("origin"),
        Step::Directory(step) => key.directory(step),
        Step::Copy(step) => key.copy(step),
        Step::Run(step) => key.run(step),
    }
    key.0.digest()
}

struct Key(Content);

impl Key {
    fn text(&mut self, text: &str) {
        self.0.add(text);
    }

    fn number(&mut self, number: u64) {
        self.text(&number.to_string());
    }

    fn flag(&mut self, flag: bool) {
        self.number(flag.into());
    }

    fn option(&mut self, text: Option<&str>) {
        self.flag(text.is_some());
        self.text(text.unwrap_or_default());
    }

    fn list<T>(&mut self, list: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(list.len() as u64);
        list.iter().for_each(|item| each(self, item));
    }

    fn texts(&mut self, texts: &[String]) {
        self.list(texts, |key, text| key.text(text));
    }

    fn directory(&mut self, step: &Directory) {
        let Directory { parent: _, path, user } = step;
        self.text("directory");
        self.text(path);
        self.text(user);
    }

    fn copy(&mut self, step: &Copy) {
        let Copy { parent: _, from, sources, destination, chown, chmod, link, parents, exclude, unpack } =
            step;
        self.text("copy");
        self.flag(from.is_some());
        self.list(sources, Self::source);
        self.text(destination);
        self.option(chown.as_deref());
        self.option(chmod.as_ref().map(ToString::to_string).as_deref());
        self.flag(*link);
        self.flag(*parents);
        self.texts(exclude);
        self.text(match unpack {
            Unpack::Never => "never",
            Unpack::Local => "local",
            Unpack::Always => "always",
        });
    }

    fn source(&mut self, source: &Source) {
        match source {
            Source::Path(path) => {
                self.text("path");
                self.text(path);
            }
            Source::Inline { name, text } => {
                self.text("inline");
                self.text(name);
                self.text(text);
            }
            Source::Url { url, checksum } => {
                self.text("url");
                self.text(url);
                self.option(checksum.as_deref());
            }
            Source::Git { remote, reference, subdirectory, keep_git_dir, checksum } => {
                self.text("git");
                self.text(remote);
                for part in [reference, subdirectory, checksum] {
                    self.option(part.as_deref());
                }
                self.flag(*keep_git_dir);
            }
        }
    }

    fn run(&mut self, step: &Run) {
        let Run { parent: _, args, env, cwd, user, script, mounts, network, insecure, devices } = step;
        self.text("run");
        self.texts(args);
        self.texts(env);
        self.text(cwd);
        self.text(user);
        self.option(script.as_ref().map(|(name, _)| name.as_str()));
        self.option(script.as_ref().map(|(_, text)| text.as_str()));
        self.list(mounts, |key, (mount, _)| key.mount(mount));
        self.text(match network {
            Network::Default => "default",
            Network::None => "none",
            Network::Host => "host",
        });
        self.flag(*insecure);
        self.list(devices, |key, Device { name, required }| {
            key.text(name);
            key.flag(*required);
        });
    }

    fn mount(&mut self, Mount { target, kind }: &Mount) {
        self.text(target);
        match kind {
            // Where the files are from is in the content; a stage's name says nothing.
            MountKind::Bind { from: _, source, writable } => {
                self.text("bind");
                self.text(source);
                self.flag(*writable);
            }
            MountKind::Cache { id, from: _, source, read_only, sharing, mode } => {
                self.text("cache");
                self.option(id.as_deref());
                self.text(source);
                self.flag(*read_only);
                self.text(match sharing {
                    CacheSharing::Shared => "shared",
                    CacheSharing::Private => "private",
                    CacheSharing::Locked => "locked",
                });
                self.mode(*mode);
            }
            MountKind::Tmpfs { size } => {
                self.text("tmpfs");
                self.option(size.map(|size| size.to_string()).as_deref());
            }
            MountKind::Secret { id, required, env, file, mode } => {
                self.text("secret");
                self.text(id);
                self.flag(*required);
                self.option(env.as_deref());
                self.flag(*file);
                self.mode(*mode);
            }
            MountKind::Ssh { id, required, mode } => {
                self.text("ssh");
                self.text(id);
                self.flag(*required);
                self.mode(*mode);
            }
        }
    }

    fn mode(&mut self, FileMode { mode, uid, gid }: FileMode) {
        for number in [mode, uid, gid] {
            self.option(number.map(|number| number.to_string()).as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(sources: &[&str], exclude: &[&str]) -> Step {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Step::Copy(Box::new(Copy {
            parent: 7,
            from: Some(3),
            sources: texts(sources).into_iter().map(Source::Path).collect(),
            destination: "/x/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: texts(exclude),
            unpack: Unpack::Never,
        }))
    }

    #[test]
    fn what_differs_has_another_place() {
        let steps = [
            copy(&["a", "b"], &[]),
            copy(&["ab"], &[]),
            copy(&["a"], &["b"]),
            copy(&["a"], &[]),
            Step::Directory(Directory { parent: 0, path: "/x".to_owned(), user: String::new() }),
            Step::Directory(Directory { parent: 0, path: String::new(), user: "/x".to_owned() }),
        ];
        let mut places = std::collections::BTreeSet::new();
        for step in &steps {
            for times in [Times::Kept, Times::AtMost(1), Times::All(1)] {
                assert!(places.insert(place(&[], step, times).to_string()), "{step:?} {times:?}");
            }
        }
    }

    /// What is known of earlier builds stays known: whoever changes this changes the version, too.
    #[test]
    fn the_encoding_stays() {
        let known = place(&[], &copy(&["a"], &["*.md"]), Times::Kept);
        assert_eq!(known.hex(), "e6c95d5b00e66c9290553da5a8dd296864a881f2bcd0f992c72a548be14a954b");
        let Step::Copy(mut elsewhere) = copy(&["a"], &["*.md"]) else { return };
        (elsewhere.parent, elsewhere.from) = (1, Some(0));
        assert_eq!(place(&[], &Step::Copy(elsewhere), Times::Kept), known, "numbers of nodes are not in it");
    }
}
