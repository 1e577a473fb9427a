// SPDX-License-Identifier: Apache-2.0
//! `artifact copy`: an image with all its platforms and all that refers to any of them, from registry to registry.

use std::collections::HashSet;

use conex_engine::images::manifest::Document;
use conex_engine::images::transfer::{CopyOptions, Progress, Select, Source, copy};
use conex_engine::registry::Remote;
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
    let (from, to) = (copying.remote(&copying.from)?, copying.remote(&copying.to)?);
    // What refers to it first: whoever sees the name finds all of it.
    let top = from.resolve()?.descriptor.digest;
    copying.referrers_of(&from, &top)?;
    copying.one(&from, &to)?;
    output::print_line(top.as_str())?;
    Ok(0)
}

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

    fn one(&self, from: &Remote, to: &Remote) -> Result<(), CommandError> {
        let options = CopyOptions { select: Select::All, ..CopyOptions::default() };
        copy(from, to, &options, self.progress.as_ref())?;
        Ok(())
    }

    /// Copies what refers to a manifest, or to one below it, and to that.
    fn referrers_of(&mut self, from: &Remote, subject: &Digest) -> Result<(), CommandError> {
        if !self.done.insert(subject.clone()) {
            return Ok(());
        }
        for referrer in from.referrers(subject, None)? {
            let place = |reference: &Reference| super::by_digest(reference, &referrer.digest);
            let (there, here) = (self.remote(&place(&self.from))?, self.remote(&place(&self.to))?);
            self.referrers_of(&there, &referrer.digest)?;
            self.one(&there, &here)?;
        }
        let named = self.remote(&super::by_digest(&self.from, subject))?;
        if let Document::Index(index) = Document::parse(&named.resolve()?)? {
            for child in &index.manifests {
                self.referrers_of(from, &child.digest)?;
            }
        }
        Ok(())
    }
}
