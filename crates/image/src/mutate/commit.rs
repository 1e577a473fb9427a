// SPDX-License-Identifier: Apache-2.0
//! Writing a changed image: what is below comes first, the name last.

use conex_spec::image::{Descriptor, Index, Platform};

use super::Draft;
use crate::layout::{Layout, index};
use crate::manifest::Document;
use crate::transfer::RawManifest;
use crate::{Error, Result, Wrap};

impl Draft {
    /// Stores the image in `layout` and calls it `name`. Gives back the new way from the named descriptor down to the
    /// manifest's. The layers must be there.
    pub fn commit(mut self, layout: &Layout, name: &str) -> Result<Vec<Descriptor>> {
        crate::layout::check_name(name)?;
        let config = index::json(&self.config)?;
        let stored = layout.put(&self.manifest.config.media_type, &config)?;
        self.manifest.config = Descriptor { data: None, ..replaced(&self.manifest.config, &stored) };
        let new = layout.put(&self.manifest_type()?, &index::json(&self.manifest)?)?;
        let Some(old) = self.walk.pop() else {
            layout.set_name(name, &new)?;
            return Ok(vec![new]);
        };
        let mut walk = vec![Descriptor { data: None, ..replaced(&old, &new) }];
        let (mut old, mut new) = (old, walk[0].clone());
        while let Some(parent) = self.walk.pop() {
            let around = |index: &mut Index| self.stand_in(index, &old, &new);
            new = rewrite(layout, &parent, around).wrap(|| format!("index {}", parent.digest))?;
            old = parent;
            walk.insert(0, new.clone());
        }
        layout.set_name(name, &new)?;
        Ok(walk)
    }

    /// Puts the new manifest in the old one's place, for the platform that the configuration says.
    fn stand_in(&self, index: &mut Index, old: &Descriptor, new: &Descriptor) {
        for entry in index.manifests.iter_mut().filter(|entry| entry.digest == old.digest) {
            let platform = entry.platform.take().map(|platform| Platform {
                os: self.config.os.clone(),
                architecture: self.config.architecture.clone(),
                variant: self.config.variant.clone().or(platform.variant),
                ..platform
            });
            *entry = Descriptor { platform, data: None, ..replaced(entry, new) };
        }
    }
}

/// The same descriptor with other content.
fn replaced(old: &Descriptor, new: &Descriptor) -> Descriptor {
    Descriptor { digest: new.digest.clone(), size: new.size, ..old.clone() }
}

/// Stores an index that was changed.
fn rewrite(layout: &Layout, old: &Descriptor, change: impl FnOnce(&mut Index)) -> Result<Descriptor> {
    let raw = RawManifest { descriptor: old.clone(), bytes: layout.index_bytes(old)? };
    let Document::Index(mut index) = Document::parse(&raw)? else {
        return Err(Error::invalid("is no index"));
    };
    change(&mut index);
    let stored = layout.put(&old.media_type, &index::json(&index)?)?;
    Ok(Descriptor { data: None, ..replaced(old, &stored) })
}
