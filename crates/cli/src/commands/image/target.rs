// SPDX-License-Identifier: Apache-2.0
//! The image that a verb changes, wherever it is, and where the new one goes.
//!
//! ```text
//!  oci: to the same layout      in place: new blobs come in, one name moves
//!  anything else                what is new waits in a scratch layout, then one copy; the name moves last
//! ```

use conex_engine::Engine;
use conex_engine::images::Image;
use conex_engine::images::layout::{Layout, LayoutName, check_name};
use conex_engine::images::mutate::{Draft, Scratch};
use conex_engine::images::transfer::{CopyOptions, Select, Source, copy};
use conex_engine::registry::Settings as RegistrySettings;
use conex_engine::transport::Location;
use conex_spec::image::{Descriptor, ImageConfig, Platform};

use super::edit_args::Caller;
use crate::commands::platform::parse_platform;
use crate::error::{CommandError, Context as _};
use crate::session::{RegistryArgs, Session};

/// The image that is changed, and the new one's name.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store (umoci:
    /// DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Give the new image this tag there, and leave the old one its own
    #[arg(long, value_name = "TAG", conflicts_with = "to")]
    tag: Option<String>,
    /// Bring the new image to this place, and leave the old one as it is
    #[arg(long, value_name = "IMAGE")]
    to: Option<String>,
    /// Where the name stands for several images, the one for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl TargetArgs {
    /// Opens the image to change it by what is in its layers, which are read more than once.
    pub(crate) fn open_layers(&self, session: &Session, caller: Caller) -> Result<Editing, CommandError> {
        let mut editing = self.open(session, caller)?;
        if let Place::Elsewhere(scratch) = &editing.desk.place {
            editing.source = scratch.fetch_layers(&editing.image, editing.source)?;
        }
        Ok(editing)
    }

    /// Opens the image to change it.
    pub(crate) fn open(&self, session: &Session, caller: Caller) -> Result<Editing, CommandError> {
        let from = caller.location(&self.image)?;
        let to = self.destination(&from, caller)?;
        if matches!(to, Location::Dir(_)) && from == to {
            return Err(CommandError::usage(
                "dir: holds one image, which a new one would replace while it is read",
            )
            .with_hint("bring the new one elsewhere: --to IMAGE"));
        }
        let desk = Desk::open(session, &self.registry, Some(&from), &to)?;
        let source = caller.source(&from, &desk.engine, &desk.registry)?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let image = Image::load(source.as_ref(), &platform)?;
        let mut draft = Draft::of(image.clone());
        // The image's other platforms come along only where they are already.
        if !from.is_beside(&to) {
            draft.walk.drain(..draft.walk.len() - 1);
        }
        desk.bring_indexes(source.as_ref(), &draft.walk)?;
        Ok(Editing { draft, image, source, desk, others: Vec::new() })
    }

    fn destination(&self, from: &Location, caller: Caller) -> Result<Location, CommandError> {
        match (&self.tag, &self.to) {
            (Some(tag), _) => Ok(from.with_tag(tag)?),
            (None, Some(to)) => caller.location(to),
            (None, None) => Ok(from.clone()),
        }
    }

    /// For messages.
    pub(crate) fn word(&self) -> &str {
        &self.image
    }
}

/// Where an image is read for a verb that only looks.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct LookArgs {
    /// Where the name stands for several images, the one for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl LookArgs {
    /// For another image that is to fit this one.
    pub(crate) fn like(target: &TargetArgs, image: &ImageConfig) -> Self {
        let platform = Platform {
            os: image.os.clone(),
            architecture: image.architecture.clone(),
            variant: image.variant.clone(),
            ..Platform::default()
        };
        Self { platform: Some(platform), registry: target.registry.clone() }
    }

    /// The image that a word means, and where its blobs are.
    pub(crate) fn open(
        &self,
        word: &str,
        session: &Session,
        caller: Caller,
    ) -> Result<(Image, Box<dyn Source>), CommandError> {
        let engine = session.engine()?;
        let location = caller.location(word)?;
        session.enter_to_read(&location)?;
        let source = caller.source(&location, &engine, &session.registry(&self.registry)?)?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        Ok((Image::load(source.as_ref(), &platform)?, source))
    }

    /// The same, with layers that can be read more than once.
    pub(crate) fn open_layers(
        &self,
        word: &str,
        session: &Session,
    ) -> Result<(Image, Box<dyn Source>), CommandError> {
        let (image, source) = self.open(word, session, Caller::Conex).context(|| word.to_owned())?;
        let source = Scratch::new()?.fetch_layers(&image, source)?;
        Ok((image, source))
    }
}

/// Where what is new goes, first and last.
pub(crate) struct Desk {
    /// The settings that places are opened with.
    pub engine: Engine,
    /// How registries are spoken to.
    pub registry: RegistrySettings,
    to: Location,
    place: Place,
}

enum Place {
    Layout { layout: Layout, name: String },
    Elsewhere(Scratch),
}

impl Desk {
    /// For an image that shall be at `to`, made of what is at `from`, if of anything.
    pub(crate) fn open(
        session: &Session,
        registry: &RegistryArgs,
        from: Option<&Location>,
        to: &Location,
    ) -> Result<Self, CommandError> {
        match to {
            Location::Oci(LayoutName { path, reference }) if from.is_none_or(|from| from.is_beside(to)) => {
                let name = reference.clone().unwrap_or_else(|| "latest".to_owned());
                check_name(&name)?;
                let place = Place::Layout { layout: Layout::open(path)?, name };
                let (engine, registry) = (session.engine()?, session.registry(registry)?);
                Ok(Self { engine, registry, to: to.clone(), place })
            }
            _ => {
                if let Some(from) = from.filter(|_| !to.is_unpacked()) {
                    session.enter_to_read(from)?;
                }
                Self::elsewhere(session, registry, to)
            }
        }
    }

    /// For something new at `to`, which joins what else is there.
    pub(crate) fn elsewhere(
        session: &Session,
        registry: &RegistryArgs,
        to: &Location,
    ) -> Result<Self, CommandError> {
        let engine = session.engine()?;
        if to.is_unpacked() {
            session.enter_user_namespace()?;
        }
        let registry = session.registry(registry)?;
        Ok(Self { engine, registry, to: to.clone(), place: Place::Elsewhere(Scratch::new()?) })
    }

    /// The layout, where it is changed in place.
    pub(crate) fn in_place(&self) -> Option<&LayoutName> {
        match (&self.place, &self.to) {
            (Place::Layout { .. }, Location::Oci(name)) => Some(name),
            _ => None,
        }
    }

    /// Brings the indexes that lead to an image, which are written anew around it.
    pub(crate) fn bring_indexes(&self, source: &dyn Source, walk: &[Descriptor]) -> Result<(), CommandError> {
        match &self.place {
            Place::Layout { .. } => Ok(()),
            Place::Elsewhere(scratch) => Ok(scratch.bring_indexes(source, walk)?),
        }
    }

    /// Where new blobs go, and documents under [`Desk::name`].
    pub(crate) fn layout(&self) -> &Layout {
        match &self.place {
            Place::Layout { layout, .. } => layout,
            Place::Elsewhere(scratch) => scratch.layout(),
        }
    }

    /// What the new image is called in [`Desk::layout`].
    pub(crate) fn name(&self) -> &str {
        match &self.place {
            Place::Layout { name, .. } => name,
            Place::Elsewhere(scratch) => scratch.name(),
        }
    }

    /// Brings what [`Desk::name`] means to its place. `old` have what is not new, in the order in which they are asked.
    pub(crate) fn deliver(&self, old: Vec<Box<dyn Source>>, session: &Session) -> Result<(), CommandError> {
        let Place::Elsewhere(scratch) = &self.place else { return Ok(()) };
        let sink = self.to.sink(&self.engine, &self.registry)?;
        let options = CopyOptions { select: Select::All, ..CopyOptions::default() };
        copy(&scratch.over(old)?, sink.as_ref(), &options, session.progress(false).as_ref())?;
        Ok(())
    }
}

/// An image that is being changed.
pub(crate) struct Editing {
    /// What it is so far.
    pub draft: Draft,
    /// What it was.
    pub image: Image,
    source: Box<dyn Source>,
    desk: Desk,
    others: Vec<Box<dyn Source>>,
}

impl Editing {
    /// Where new layers go.
    pub(crate) fn layout(&self) -> &Layout {
        self.desk.layout()
    }

    /// What it was made of.
    pub(crate) fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// Lets layers of another image be used.
    pub(crate) fn borrow_layers(
        &mut self,
        layers: &[Descriptor],
        source: Box<dyn Source>,
    ) -> Result<(), CommandError> {
        if let Place::Layout { layout, .. } = &self.desk.place {
            for layer in layers {
                layout.take(layer, source.as_ref())?;
            }
        }
        self.others.push(source);
        Ok(())
    }

    /// Stores the new image, then lets its name mean it.
    pub(crate) fn commit(self, session: &Session) -> Result<(), CommandError> {
        self.draft.commit(self.desk.layout(), self.desk.name())?;
        let old = std::iter::once(self.source).chain(self.others).collect();
        self.desk.deliver(old, session)
    }
}

impl Caller {
    /// Reads the name of an image. In a layout it is `latest` unless the name says otherwise.
    pub(crate) fn location(self, word: &str) -> Result<Location, CommandError> {
        let location = match self {
            Self::Umoci if word.starts_with("docker://") => Location::parse(word, false)?,
            Self::Umoci => Location::parse(&format!("oci:{word}"), false)?,
            Self::Conex => Location::parse(word, true)?,
        };
        Ok(match location {
            Location::Oci(LayoutName { path, reference: None }) => {
                Location::Oci(LayoutName { path, reference: Some("latest".to_owned()) })
            }
            other => other,
        })
    }

    /// Opens it for reading. umoci knows no signature policy where it works in layouts.
    pub(crate) fn source(
        self,
        from: &Location,
        engine: &Engine,
        registry: &RegistrySettings,
    ) -> Result<Box<dyn Source>, CommandError> {
        match (self, from) {
            (Self::Umoci, Location::Oci(_)) => Ok(from.source(engine, registry)?),
            _ => Ok(from.trusted_source(engine, registry, false)?),
        }
    }
}
