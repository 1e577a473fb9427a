// SPDX-License-Identifier: Apache-2.0
//! skopeo's `list-tags`.

use conex_engine::images::archive::{DockerArchiveSource, OciArchiveSource};
use conex_engine::images::layout::LayoutSource;
use conex_engine::registry::Client;
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;
use conex_spec::image::annotation::REF_NAME;
use serde_json::json;

use super::sides::OneSide;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Show the tags of a repository, or the names in an archive or layout
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex list-tags docker://quay.io/org/app
  conex list-tags docker-archive:saved.tar")]
pub(crate) struct Args {
    /// docker://NAME, docker-archive:FILE, oci-archive:FILE or oci:DIRECTORY
    #[arg(value_name = "SOURCE-IMAGE")]
    place: String,
    #[command(flatten)]
    side: OneSide,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let listed = list(args, session).context(|| format!("list-tags {}", args.place))?;
    output::print(&output::pretty(&listed))?;
    Ok(0)
}

fn list(args: &Args, session: &Session) -> Result<serde_json::Value, CommandError> {
    let names = match Location::parse(&args.place, false)? {
        Location::Docker(reference) => return remote(args, session, &reference),
        Location::DockerArchive(name) => DockerArchiveSource::names(&name.path)?,
        Location::OciArchive(name) => entry_names(OciArchiveSource::open(&name)?.index().0),
        Location::Oci(name) => entry_names(&LayoutSource::open(&name)?.index()?.0),
        _ => {
            let transport = args.place.split(':').next().unwrap_or_default();
            return Err(CommandError::usage(format!(
                "Unsupported transport '{transport}' for tag listing. Only supported: docker, docker-archive, oci, oci-archive"
            )));
        }
    };
    Ok(json!({ "Tags": names }))
}

fn entry_names(entries: &[Descriptor]) -> Vec<String> {
    entries.iter().filter_map(|entry| entry.annotations.get(REF_NAME).cloned()).collect()
}

fn remote(args: &Args, session: &Session, reference: &Reference) -> Result<serde_json::Value, CommandError> {
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(CommandError::usage("the repository must stand without tag and digest"));
    }
    let tags = Client::new(args.side.settings(session)?).remote(reference).tags()?;
    Ok(json!({ "Repository": reference.repository(), "Tags": tags }))
}
