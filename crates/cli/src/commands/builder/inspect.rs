// SPDX-License-Identifier: Apache-2.0
//! `conex builder inspect`

use conex_build::container::{self, Working};
use conex_engine::{Engine, image};
use conex_spec::image::ImageConfig;
use serde_json::{Value, json};

use super::fields;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Show what a working container or an image says, as JSON
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name or id
    name: String,
    /// A Go template
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// container, image or manifest
    #[arg(short, long, value_name = "TYPE", default_value = "container")]
    r#type: String,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let value = match args.r#type.as_str() {
        "container" => match container::find(&engine, &args.name) {
            // As buildah does: an image by that name will do.
            Err(error) if error.kind() == conex_engine::ErrorKind::NotFound => {
                of_image(&engine, &args.name).map_err(|_| CommandError::from(error))
            }
            found => of_container(&found?),
        },
        "image" => of_image(&engine, &args.name),
        "manifest" => of_manifest(&engine, &args.name),
        other => {
            let message = format!("--type {other:?}: there are container, image, manifest");
            return Err(CommandError::usage(message));
        }
    };
    let value = value.context(|| format!("inspect {}", args.name))?;
    let text = match &args.format {
        Some(format) => output::template::render_line(format, &fields::named(value))?,
        None => output::pretty(&value),
    };
    output::print(&text).map(|()| 0)
}

fn of_container(working: &Working) -> Result<Value, CommandError> {
    let record = working.record()?;
    let mut value = described(&record.config);
    value["FromImage"] = json!(record.image);
    value["FromImageID"] = json!(record.image_id.as_ref().map_or("", |id| id.hex()));
    value["FromImageDigest"] =
        json!(record.manifest.as_ref().map_or("", |manifest| manifest.digest.as_str()));
    value["Container"] = json!(working.name);
    value["ContainerID"] = json!(record.id);
    value["ImageAnnotations"] = json!(record.annotations);
    value["ImageCreatedBy"] = json!(record.created_by.unwrap_or_default());
    value["Isolation"] = json!(record.isolation);
    Ok(value)
}

fn of_image(engine: &Engine, name: &str) -> Result<Value, CommandError> {
    let found = image::find(engine, name)?;
    let mut value = described(&found.image.config);
    value["FromImage"] = json!(found.name);
    value["FromImageID"] = json!(found.image.id().hex());
    value["FromImageDigest"] = json!(found.image.raw.descriptor.digest);
    value["Manifest"] = json!(String::from_utf8_lossy(&found.image.raw.bytes));
    value["ImageAnnotations"] = json!(found.image.manifest.annotations);
    Ok(value)
}

fn of_manifest(engine: &Engine, name: &str) -> Result<Value, CommandError> {
    let found = image::find(engine, name)?;
    let store = engine.store()?;
    let raw = store.manifest(&found.descriptor).map_err(conex_engine::Error::from)?;
    serde_json::from_slice(&raw.bytes).map_err(|error| CommandError::tool(error.to_string()))
}

/// buildah's document: the configuration in both spellings.
fn described(config: &ImageConfig) -> Value {
    let docker = json!({
        "created": config.created,
        "author": config.author,
        "architecture": config.architecture,
        "os": config.os,
        "config": config.config,
        "container_config": config.config,
        "rootfs": config.rootfs,
        "history": config.history,
    });
    json!({
        "Type": "buildah 0.0.1",
        "FromImage": "",
        "FromImageID": "",
        "FromImageDigest": "",
        "Config": serde_json::to_string(config).unwrap_or_default(),
        "Manifest": "",
        "Container": "",
        "ContainerID": "",
        "MountPoint": "",
        "ImageAnnotations": {},
        "ImageCreatedBy": "",
        "OCIv1": config,
        "Docker": docker,
        "Isolation": "oci",
    })
}
