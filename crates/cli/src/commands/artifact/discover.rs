// SPDX-License-Identifier: Apache-2.0
//! `artifact discover`: what refers to an image, and to that, and so on.

use conex_engine::registry::Remote;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;
use serde_json::{Value, json};

use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Referrers of referrers of …: deeper is a registry's joke.
const DEPTH: usize = 16;

/// Show what refers to an image: SBOMs, signatures, anything attached
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex artifact discover localhost:5000/app:1
  conex artifact discover --artifact-type application/spdx+json --format json localhost:5000/app:1")]
pub(super) struct Args {
    /// The image
    pub(super) name: String,
    /// Only artifacts of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// tree or json
    #[arg(long, value_name = "FORMAT", default_value = "tree", value_parser = ["tree", "json"])]
    format: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A referrer, and what refers to it.
pub(super) struct Node {
    descriptor: Descriptor,
    below: Vec<Node>,
}

pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let reference = super::reference(&args.name)?;
    let remote = super::remote(session, &args.registry, &reference)?;
    let subject = remote.head()?;
    let found = referrers(&remote, &subject, args.artifact_type.as_deref(), 0)?;
    let text = match args.format.as_str() {
        "json" => output::pretty(&json!({
            "reference": super::by_digest(&reference, &subject.digest).to_string(),
            "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size,
            "referrers": found.iter().map(|node| as_json(node, &reference)).collect::<Vec<_>>(),
        })),
        _ => format!("{}\n{}", super::by_digest(&reference, &subject.digest), tree(&found, "")),
    };
    output::print(&text)?;
    Ok(0)
}

/// What refers to a manifest, and to that.
pub(super) fn referrers(
    remote: &Remote,
    subject: &Descriptor,
    artifact_type: Option<&str>,
    depth: usize,
) -> Result<Vec<Node>, CommandError> {
    if depth == DEPTH {
        return Ok(Vec::new());
    }
    let node = |descriptor: Descriptor| {
        let below = referrers(remote, &descriptor, artifact_type, depth + 1)?;
        Ok(Node { descriptor, below })
    };
    remote.referrers(&subject.digest, artifact_type)?.into_iter().map(node).collect()
}

pub(super) fn as_json(node: &Node, reference: &Reference) -> Value {
    let Node { descriptor, below } = node;
    json!({
        "reference": super::by_digest(reference, &descriptor.digest).to_string(),
        "mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size,
        "artifactType": descriptor.artifact_type, "annotations": descriptor.annotations,
        "referrers": below.iter().map(|node| as_json(node, reference)).collect::<Vec<_>>(),
    })
}

/// A line each for type and digest, as oras draws it.
fn tree(nodes: &[Node], indent: &str) -> String {
    let mut text = String::new();
    for (number, node) in (1..).zip(nodes) {
        let is_last = number == nodes.len();
        let (branch, trunk) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let kind = node.descriptor.artifact_type.as_deref().unwrap_or("of no type");
        let kind: String = kind.chars().filter(|letter| !letter.is_control()).collect();
        text += &format!("{indent}{branch}{kind}\n{indent}{trunk}└── {}\n", node.descriptor.digest);
        text += &tree(&node.below, &format!("{indent}{trunk}    "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_drawn() {
        let node = |kind: &str, letter: &str, below| {
            let digest = format!("sha256:{}", letter.repeat(64)).parse().unwrap();
            let mut descriptor = Descriptor::new("m", digest, 1);
            descriptor.artifact_type = Some(kind.to_owned());
            Node { descriptor, below }
        };
        let drawn = tree(
            &[
                node("a/sbom", "a", vec![node("a/signature", "b", Vec::new())]),
                node("a/notes", "c", Vec::new()),
            ],
            "",
        );
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let expected = format!(
            "├── a/sbom\n│   └── {}\n│       └── a/signature\n│           └── {}\n└── a/notes\n    └── {}\n",
            digest("a"),
            digest("b"),
            digest("c")
        );
        assert_eq!(drawn, expected);
    }
}
