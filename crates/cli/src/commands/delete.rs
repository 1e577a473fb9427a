// SPDX-License-Identifier: Apache-2.0
//! skopeo's `delete`.

use conex_engine::registry::{Client, ErrorKind};
use conex_engine::transport::Location;

use super::sides::OneSide;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Delete an image from a registry, with all its tags
///
/// The registry must allow it. What the image takes there is free once the registry collects its garbage.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex delete docker://quay.io/org/app:1             the image that tag 1 names, and with it all its other tags
  conex delete --tag-only docker://quay.io/org/app:1  tag 1; the image stays under its other tags")]
pub(crate) struct Args {
    /// docker://NAME
    #[arg(value_name = "IMAGE-NAME")]
    image: String,
    /// Delete the tag alone
    #[arg(long)]
    tag_only: bool,
    #[command(flatten)]
    side: OneSide,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    delete(args, session).context(|| format!("delete {}", args.image)).map(|()| 0)
}

fn delete(args: &Args, session: &Session) -> Result<(), CommandError> {
    let Location::Docker(reference) = Location::parse(&args.image, false)? else {
        let transport = args.image.split(':').next().unwrap_or_default();
        let message = format!("Deleting images not implemented for {transport}: images");
        return Err(CommandError::usage(message));
    };
    let remote = Client::new(args.side.settings(session)?).remote(&reference);
    let deleted = if args.tag_only { remote.delete_tag() } else { remote.delete() };
    deleted.map_err(|error| match error.kind() {
        // Not the exit code of a missing image: skopeo's is 1 here.
        ErrorKind::NotFound => CommandError::tool(format!(
            "Unable to delete {}. Image may not exist or is not stored with a v2 Schema in a v2 registry",
            reference.canonical()
        )),
        _ => error.into(),
    })
}
