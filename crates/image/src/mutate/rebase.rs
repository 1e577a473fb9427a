// SPDX-License-Identifier: Apache-2.0
//! The same layers on another base. Pure: which layers, which history, which configuration; no file is looked at.

use conex_spec::image::History;

use super::Draft;
use crate::{Error, ErrorKind, Image, Result};

impl Draft {
    /// Puts what the image has on top of `old` on top of `new` instead. `old`'s layers must be the image's lowest.
    ///
    /// The configuration stays the image's. That its layers make sense on the new base is the caller's word.
    pub fn rebase(&mut self, old: &Image, new: &Image) -> Result<()> {
        let (below, ours) = (&old.config.rootfs.diff_ids, &self.config.rootfs.diff_ids);
        if !ours.starts_with(below) {
            let at = ours.iter().zip(below).take_while(|(ours, theirs)| ours == theirs).count();
            let message = format!("the image does not lie on the old base: its layer {} is another", at + 1);
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("name the image that it was built from, as it was then"));
        }
        if (&new.config.os, &new.config.architecture) != (&self.config.os, &self.config.architecture) {
            let (os, architecture) = (&new.config.os, &new.config.architecture);
            let message = format!("the new base is for another platform: {os}/{architecture}");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let above = below.len();
        let steps = match self.config.history.strip_prefix(&old.config.history[..]) {
            Some(steps) => steps.to_vec(),
            None => steps_above(&self.config.history, above),
        };
        self.manifest.layers.splice(..above, new.manifest.layers.iter().cloned());
        self.config.rootfs.diff_ids.splice(..above, new.config.rootfs.diff_ids.iter().cloned());
        self.config.history = [&new.config.history[..], &steps].concat();
        Ok(())
    }
}

/// The history behind the step that made the last of so many layers.
fn steps_above(history: &[History], layers: usize) -> Vec<History> {
    let with_layer = history.iter().enumerate().filter(|(_, step)| !step.empty_layer);
    let first = match layers.checked_sub(1) {
        Some(last) => with_layer.map(|(at, _)| at + 1).nth(last).unwrap_or(history.len()),
        None => 0,
    };
    history[first..].to_vec()
}

#[cfg(test)]
mod tests {
    use conex_spec::DiffId;
    use conex_spec::image::{Descriptor, Platform, media_type};

    use super::*;
    use crate::mutate::{NewLayer, Note};
    use crate::transfer::RawManifest;
    use crate::verify::sha256;

    fn draft(layers: &[&str]) -> Draft {
        let mut draft = Draft::new(&Platform::host(), "2020-01-01T00:00:00Z".parse().unwrap());
        for name in layers {
            let digest = sha256(name.as_bytes());
            let descriptor = Descriptor::new(media_type::OCI_LAYER, digest.clone(), 1);
            let note = Note { created_by: (*name).to_owned(), ..Note::default() };
            draft.append(NewLayer { descriptor, diff_id: DiffId(digest) }, Some(&note));
        }
        draft
    }

    fn image(layers: &[&str]) -> Image {
        let Draft { manifest, config, .. } = draft(layers);
        let raw = RawManifest { descriptor: manifest.config.clone(), bytes: Vec::new() };
        Image { walk: Vec::new(), raw, manifest, config }
    }

    #[test]
    fn what_lies_above_is_put_on_another_base() {
        let mut app = draft(&["a", "b", "app"]);
        app.note(Some(&Note { created_by: "set a command".to_owned(), ..Note::default() }));
        app.rebase(&image(&["a", "b"]), &image(&["x", "y", "z"])).unwrap();
        let expected = draft(&["x", "y", "z", "app"]);
        assert_eq!(app.manifest.layers, expected.manifest.layers);
        assert_eq!(app.config.rootfs, expected.config.rootfs);
        let steps: Vec<_> =
            app.config.history.iter().map(|step| step.created_by.as_deref().unwrap()).collect();
        assert_eq!(steps, ["x", "y", "z", "app", "set a command"]);
    }

    #[test]
    fn steps_that_changed_no_file_belong_to_the_base_that_tells_of_them() {
        let step = |text: &str| Note { created_by: text.to_owned(), ..Note::default() };
        let (mut base, mut app) = (draft(&["a"]), draft(&["a"]));
        base.note(Some(&step("base's command")));
        app.note(Some(&step("base's command")));
        app.note(Some(&step("app's command")));
        let old = Image { config: base.config, ..image(&["a"]) };
        app.rebase(&old, &image(&["x"])).unwrap();
        let steps: Vec<_> =
            app.config.history.iter().map(|step| step.created_by.as_deref().unwrap()).collect();
        assert_eq!(steps, ["x", "app's command"]);
        assert_eq!(steps_above(&draft(&["a"]).config.history, 5), []);
    }

    #[test]
    fn another_base_is_told() {
        let error = draft(&["a", "b"]).rebase(&image(&["a", "c"]), &image(&["x"])).unwrap_err();
        assert!(error.to_string().contains("layer 2"), "{error}");
        let mut other = image(&["x"]);
        other.config.architecture = "s390x".to_owned();
        assert!(draft(&["a"]).rebase(&image(&["a"]), &other).is_err());
    }
}
