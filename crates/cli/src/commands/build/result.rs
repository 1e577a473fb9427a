// SPDX-License-Identifier: Apache-2.0
//! `--output`: where else the result goes.
//!
//! ```text
//!  DIRECTORY   type=local,dest=DIRECTORY     the files
//!  -           type=tar[,dest=FILE]          the files as one archive; without dest on stdout
//!              type=oci|docker,dest=FILE     the image as an archive, with tar=false an OCI layout
//! ```

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use conex_build::commit::Committed;
use conex_engine::Engine;
use conex_engine::images::merged::{For, Hash, Merged};
use conex_engine::images::store::StoreSource;
use conex_engine::images::transfer::{CopyOptions, Form, Select, copy};
use conex_engine::transport::Location;
use conex_spec::image::Platform;

use crate::error::{CommandError, Context as _};
use crate::session::{RegistryArgs, Session};

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// Files in a directory.
    Local(PathBuf),
    /// Files as an archive; on stdout if unset.
    Tar(Option<PathBuf>),
    /// The image, as `conex copy` writes it.
    Image(Location),
}

impl Output {
    /// `name` is what the image is called in an archive.
    pub(super) fn parse(text: &str, name: Option<&str>) -> Result<Self, CommandError> {
        let wrong = |why: &str| {
            CommandError::usage(format!("--output {text}: {why}"))
                .with_hint("write a directory, or type=local|tar|oci|docker,dest=FILE")
        };
        if text == "-" {
            return Ok(Self::Tar(None));
        }
        if !text.contains('=') {
            return Ok(Self::Local(text.into()));
        }
        let (mut kind, mut place, mut as_file) = (None, None, true);
        for field in text.split(',') {
            match field.split_once('=').ok_or_else(|| wrong("a field has no value"))? {
                ("type", value) => kind = Some(value),
                ("dest" | "destination", value) => place = Some(value),
                ("tar", value) => as_file = value != "false",
                (key, _) => return Err(wrong(&format!("nothing is called {key}"))),
            }
        }
        let needed = || place.ok_or_else(|| wrong("it has no dest"));
        let image = |transport: &str| -> Result<Self, CommandError> {
            let place = needed()?;
            let name = name.map(|name| format!(":{name}")).unwrap_or_default();
            Ok(Self::Image(Location::parse(&format!("{transport}:{place}{name}"), false)?))
        };
        match kind {
            Some("local") => Ok(Self::Local(needed()?.into())),
            Some("tar") => Ok(Self::Tar(place.filter(|place| *place != "-").map(PathBuf::from))),
            Some("oci") if as_file => image("oci-archive"),
            Some("oci") => image("oci"),
            Some("docker") => image("docker-archive"),
            _ => Err(wrong("there is no such type")),
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Tar(None))
    }

    /// Writes what was built.
    pub(super) fn write(
        &self,
        session: &Session,
        engine: &Engine,
        registry: &RegistryArgs,
        platform: &Platform,
        built: &Committed,
    ) -> Result<(), CommandError> {
        let store = engine.store()?;
        let descriptor = built.manifest.descriptor.clone();
        let image = store.image(&descriptor, platform)?;
        let source = StoreSource::nameless(store, descriptor);
        let latest = session.environment.source_date_epoch()?;
        let write = |output: &mut (dyn Write + Send)| -> Result<(), CommandError> {
            let merged = Merged::read(&image, &source, Hash::No)?;
            let output = BufWriter::with_capacity(256 << 10, output);
            merged.write(&image, &source, output, latest, For::Tar)?.flush().context(|| "write")
        };
        match self {
            Self::Tar(None) => write(&mut std::io::stdout()),
            Self::Tar(Some(path)) => {
                write(&mut File::create(path).context(|| format!("make {}", path.display()))?)
            }
            Self::Local(directory) => local(directory, write),
            Self::Image(location) => {
                let sink = location.sink(engine, &session.registry(registry)?)?;
                let select = Select::Platform(platform.clone());
                let options = CopyOptions { select, form: Form::default(), preserve_digests: false, jobs: 6 };
                let progress = session.progress(true);
                copy(&source, sink.as_ref(), &options, progress.as_ref())?;
                Ok(())
            }
        }
    }
}

/// The archive goes through a pipe to who unpacks it.
fn local(
    directory: &Path,
    write: impl Fn(&mut (dyn Write + Send)) -> Result<(), CommandError> + Sync,
) -> Result<(), CommandError> {
    fs::create_dir_all(directory).context(|| format!("make {}", directory.display()))?;
    let (reader, mut writer) = std::io::pipe().context(|| "make a pipe")?;
    std::thread::scope(|scope| {
        let unpacked = scope.spawn(move || conex_build::copy::unpack(reader, directory));
        let written = write(&mut writer);
        drop(writer);
        // Where unpacking ends early, writing fails, too: the first failure is what to tell.
        unpacked.join().unwrap_or_else(|_| panic!("the unpacking thread panicked"))?;
        written
    })
}
