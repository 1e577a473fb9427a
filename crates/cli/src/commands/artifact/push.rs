// SPDX-License-Identifier: Apache-2.0
//! `artifact push` and `artifact attach`.

use conex_engine::images::artifact::Packed;
use conex_engine::images::transfer::{CopyOptions, Sink, copy};

use super::files::FilesArgs;
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Bring files to a registry
///
/// The same files give the same digest, whoever pushes them and whenever.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex artifact push localhost:5000/notes:1 readme.md:text/markdown pictures
  conex artifact push localhost:5000/charts/web:1.0 --config chart.json:application/vnd.cncf.helm.config.v1+json \\
      web-1.0.tgz:application/vnd.cncf.helm.chart.content.v1.tar+gzip
  conex artifact push oci:layout:policy policy.rego --artifact-type application/vnd.example.policy")]
pub(super) struct PushArgs {
    /// Where to
    pub(super) name: String,
    /// What kind of artifact it is, a media type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// The artifact's configuration, in place of the empty one: FILE[:TYPE]
    #[arg(long, value_name = "FILE[:TYPE]")]
    config: Option<String>,
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn push(args: &PushArgs, session: &Session) -> CommandResult {
    let packed = args.files.draft(args.artifact_type.clone(), args.config.as_deref())?.pack();
    let location = super::location(&args.name)?;
    let sink = location.sink(&session.engine()?, &session.registry(&args.registry)?)?;
    send(&packed, sink.as_ref(), session)
}

/// Bring files to a registry that say something about an image there
///
/// They refer to it: `artifact discover` finds them. Where a registry does not know referrers, a tag keeps the list.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex artifact attach --artifact-type application/spdx+json localhost:5000/app:1 sbom.spdx.json:application/spdx+json")]
pub(super) struct AttachArgs {
    /// The image
    pub(super) name: String,
    /// What kind of artifact it is, a media type
    #[arg(long, value_name = "TYPE")]
    artifact_type: String,
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn attach(args: &AttachArgs, session: &Session) -> CommandResult {
    let reference = super::reference(&args.name)?;
    let mut draft = args.files.draft(Some(args.artifact_type.clone()), None)?;
    let mut subject = super::remote(session, &args.registry, &reference)?.head()?;
    subject.annotations.clear();
    draft.subject = Some(subject);
    let packed = draft.pack();
    let place = super::by_digest(&reference, &packed.manifest.descriptor.digest);
    send(&packed, &super::remote(session, &args.registry, &place)?, session)
}

fn send(packed: &Packed, sink: &dyn Sink, session: &Session) -> Result<u8, CommandError> {
    let done = copy(packed, sink, &CopyOptions::default(), session.progress(false).as_ref())?;
    output::print_line(done.digest.as_str())?;
    Ok(0)
}
