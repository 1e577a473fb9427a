// SPDX-License-Identifier: Apache-2.0
//! `artifact inspect`.

use serde_json::{Value, json};

use super::discover;
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Show an artifact or image: type, files, what it refers to, and what refers to it
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// What
    pub(super) name: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    output::print(&output::pretty(&describe(args, session)?))?;
    Ok(0)
}

fn describe(args: &Args, session: &Session) -> Result<Value, CommandError> {
    let reference = super::reference(&args.name)?;
    let remote = super::remote(session, &args.registry, &reference)?;
    let (raw, manifest) = super::manifest(&remote)?;
    let files = manifest.layers.iter().map(|layer| {
        json!({"title": super::title(layer), "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size})
    });
    let referrers = discover::referrers(&remote, &raw.descriptor, None, 0)?;
    Ok(json!({
        "reference": super::by_digest(&reference, &raw.descriptor.digest).to_string(),
        "mediaType": raw.descriptor.media_type,
        "artifactType": super::artifact_type(&manifest),
        "files": files.collect::<Vec<_>>(),
        "annotations": manifest.annotations,
        "subject": manifest.subject,
        "referrers": referrers.iter().map(|node| discover::as_json(node, &reference)).collect::<Vec<_>>(),
    }))
}
