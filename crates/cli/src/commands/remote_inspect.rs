// SPDX-License-Identifier: Apache-2.0
//! An image where it is, without copying it: skopeo's `inspect`.

use std::io::Read as _;

use conex_engine::images::Image;
use conex_engine::images::transfer::Source;
use conex_engine::registry::{Client, Remote, Settings as RegistrySettings};
use conex_engine::transport::Location;
use conex_engine::{Engine, images};
use conex_spec::image::Platform;
use serde_json::{Value, json};

use super::sides::OneSide;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::{self, template};
use crate::session::Session;

/// Show an image where it is, without copying it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  skopeo inspect docker://docker.io/busybox
  skopeo inspect --raw oci:httpd:2.4         the manifest, byte for byte
  skopeo inspect --config docker://alpine    the image's configuration
  skopeo inspect --format '{{.Digest}}' docker://alpine")]
pub(crate) struct Args {
    /// docker://NAME, oci:DIRECTORY[:TAG] or store:NAME
    #[arg(value_name = "IMAGE-NAME")]
    image: String,
    /// The manifest, or with --config the configuration, byte for byte
    #[arg(long)]
    raw: bool,
    /// The image's configuration
    #[arg(long)]
    config: bool,
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not ask the registry for its tags
    #[arg(short = 'n', long)]
    no_tags: bool,
    #[command(flatten)]
    side: OneSide,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, platform: &Platform) -> CommandResult {
    if args.raw && args.format.is_some() {
        return Err(CommandError::usage("raw output does not support format option"));
    }
    let engine = session.engine()?;
    let registry = args.side.settings(session)?;
    let context = || format!("inspect {}", args.image);
    let location = Location::parse(&args.image, false).context(context)?;
    session.enter_to_read(&location).context(context)?;
    let (source, remote) = open(&location, &engine, &registry).context(context)?;
    if args.raw && !args.config {
        let raw = source.resolve().context(context)?;
        return output::print(&String::from_utf8_lossy(&raw.bytes)).map(|()| 0);
    }
    let image = Image::load(source.as_ref(), platform).context(context)?;
    let value = match args.config {
        true if args.raw => {
            let bytes = configuration(source.as_ref(), &image).context(context)?;
            return output::print(&String::from_utf8_lossy(&bytes)).map(|()| 0);
        }
        true => serde_json::to_value(&image.config).map_err(|error| CommandError::tool(error.to_string()))?,
        false => view(&image, remote.as_ref(), !args.no_tags).context(context)?,
    };
    match &args.format {
        Some(format) => output::print(&template::render_line(format, &with_go_names(value))?)?,
        None => output::print(&output::pretty(&value))?,
    }
    Ok(0)
}

fn configuration(source: &dyn Source, image: &Image) -> Result<Vec<u8>, CommandError> {
    let descriptor = &image.manifest.config;
    let reader = source.open_blob(descriptor, 0)?.reader;
    let mut bytes = Vec::new();
    reader.take(images::manifest::MAX_MANIFEST).read_to_end(&mut bytes)?;
    // Only for show, but nothing else than what was asked for.
    images::manifest::verified(bytes, &descriptor.media_type, Some(&descriptor.digest))
        .map(|raw| raw.bytes)
        .map_err(Into::into)
}

/// The configuration's properties under the names that skopeo's templates have for them as well.
fn with_go_names(mut value: Value) -> Value {
    const TOP: [(&str, &str); 10] = [
        ("created", "Created"),
        ("author", "Author"),
        ("architecture", "Architecture"),
        ("variant", "Variant"),
        ("os", "OS"),
        ("os.version", "OSVersion"),
        ("os.features", "OSFeatures"),
        ("config", "Config"),
        ("rootfs", "RootFS"),
        ("history", "History"),
    ];
    const ROOTFS: [(&str, &str); 2] = [("type", "Type"), ("diff_ids", "DiffIDs")];
    const STEP: [(&str, &str); 5] = [
        ("created", "Created"),
        ("created_by", "CreatedBy"),
        ("author", "Author"),
        ("comment", "Comment"),
        ("empty_layer", "EmptyLayer"),
    ];
    let add = |value: &mut Value, names: &[(&str, &str)]| {
        for (name, gos) in names {
            if let Some(property) = value.get(name).cloned() {
                value[gos] = property;
            }
        }
    };
    if let Some(rootfs) = value.get_mut("rootfs") {
        add(rootfs, &ROOTFS);
    }
    for step in value.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
        add(step, &STEP);
    }
    add(&mut value, &TOP);
    value
}

/// The view for a name with a transport.
pub(crate) fn merged_view(
    engine: &Engine,
    name: &str,
    registry: &RegistrySettings,
    tags: bool,
) -> Result<Value, CommandError> {
    let (source, remote) = open(&Location::parse(name, false)?, engine, registry)?;
    let image = Image::load(source.as_ref(), &Platform::host())?;
    view(&image, remote.as_ref(), tags)
}

/// What to read the image from, and the same as a registry's where it is one: over the same connections.
fn open(
    location: &Location,
    engine: &Engine,
    registry: &RegistrySettings,
) -> Result<(Box<dyn Source>, Option<Remote>), CommandError> {
    let Location::Docker(reference) = location else { return Ok((location.source(engine, registry)?, None)) };
    let remote = Client::new(registry.clone()).remote(reference);
    Ok((Box::new(remote.clone()), Some(remote)))
}

/// skopeo's merged view of a manifest and its configuration.
fn view(image: &Image, remote: Option<&Remote>, tags: bool) -> Result<Value, CommandError> {
    let name = remote.map_or_else(String::new, |remote| remote.reference().repository());
    let tags = remote.filter(|_| tags).map_or_else(|| Ok(Vec::new()), Remote::tags)?;
    // What was named: an index, where one led to the image.
    let digest = image.walk.first().map(|named| &named.digest);
    let layers = &image.manifest.layers;
    let config = &image.config;
    Ok(json!({
        "Name": name,
        "Digest": digest,
        "RepoTags": tags,
        "Created": config.created,
        "DockerVersion": config.other.get("docker_version").cloned().unwrap_or_else(|| "".into()),
        "Labels": (!config.config.labels.is_empty()).then_some(&config.config.labels),
        "Architecture": config.architecture,
        "Os": config.os,
        "Layers": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>(),
        "LayersData": layers.iter().map(|layer| json!({
            "MIMEType": layer.media_type,
            "Digest": layer.digest,
            "Size": layer.size,
            "Annotations": (!layer.annotations.is_empty()).then_some(&layer.annotations),
        })).collect::<Vec<_>>(),
        "Env": config.config.env,
    }))
}
