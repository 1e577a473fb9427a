// SPDX-License-Identifier: Apache-2.0
//! `artifact copy`: an image with all its platforms and all that refers to any of them, from registry to registry.

use std::collections::HashSet;

use conex_engine::images::manifest::Document;
use conex_engine::images::transfer::{CopyOptions, Progress, Select, Source, copy};
use conex_engine::registry::{ErrorKind, Remote};
use conex_engine::transport::Location;
use conex_spec::Digest;
use conex_spec::distribution::Reference;

use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Copy an image, all its platforms, and what refers to them
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex artifact copy registry.example/app:1 localhost:5000/app:1")]
pub(super) struct Args {
    /// Where it is
    pub(super) source: String,
    /// Where it shall be
    destination: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let mut copying = Copying {
        session,
        registry: &args.registry,
        from: super::reference(&args.source)?,
        to: super::reference(&args.destination)?,
        done: HashSet::new(),
        progress: session.progress(false),
    };
    let settings = session.registry(&args.registry)?;
    let trusted =
        Location::Docker(copying.from.clone()).trusted_source(&session.engine()?, &settings, true)?;
    // What refers to it first: whoever sees the name finds all of it. It comes along with what was let in.
    let top = trusted.resolve()?.descriptor.digest;
    copying.all_about(&top)?;
    copying.one(trusted.as_ref(), &copying.remote(&copying.to)?)?;
    output::print_line(top.as_str())?;
    Ok(0)
}

/// cosign's older way: a tag made of the digest.
const TAGS: [&str; 3] = ["sig", "att", "sbom"];

struct Copying<'a> {
    session: &'a Session,
    registry: &'a RegistryArgs,
    from: Reference,
    to: Reference,
    /// Manifests whose referrers have been copied.
    done: HashSet<Digest>,
    progress: Box<dyn Progress>,
}

impl Copying<'_> {
    fn remote(&self, reference: &Reference) -> Result<Remote, CommandError> {
        super::remote(self.session, self.registry, reference)
    }

    fn one(&self, from: &dyn Source, to: &Remote) -> Result<(), CommandError> {
        let options = CopyOptions { select: Select::All, ..CopyOptions::default() };
        copy(from, to, &options, self.progress.as_ref())?;
        Ok(())
    }

    /// Copies what refers to a manifest, or to one below it, and to that.
    fn all_about(&mut self, subject: &Digest) -> Result<(), CommandError> {
        if !self.done.insert(subject.clone()) {
            return Ok(());
        }
        let named = self.remote(&super::by_digest(&self.from, subject))?;
        for referrer in named.referrers(subject, None)? {
            let place = |reference: &Reference| super::by_digest(reference, &referrer.digest);
            let (there, here) = (self.remote(&place(&self.from))?, self.remote(&place(&self.to))?);
            self.all_about(&referrer.digest)?;
            self.one(&there, &here)?;
        }
        for suffix in TAGS {
            self.tagged(&format!("{}-{}.{suffix}", subject.algorithm().name(), subject.hex()))?;
        }
        if let Document::Index(index) = Document::parse(&named.resolve()?)? {
            for child in &index.manifests {
                self.all_about(&child.digest)?;
            }
        }
        Ok(())
    }

    /// Copies what has this tag, if anything has.
    fn tagged(&self, tag: &str) -> Result<(), CommandError> {
        let place = |reference: &Reference| Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..reference.clone()
        };
        let (there, here) = (self.remote(&place(&self.from))?, self.remote(&place(&self.to))?);
        match there.head() {
            Ok(_) => self.one(&there, &here),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
