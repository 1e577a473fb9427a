// SPDX-License-Identifier: Apache-2.0
//! `conex system`

use clap::Subcommand;
use conex_engine::images::fsck::{FsckOptions, Report, fsck};
use conex_engine::system::info;
use conex_engine::{container, image};
use serde_json::{Value, json};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::table::{self, Column};
use crate::output::{self, template, units};
use crate::session::Session;

/// Look after the store and the host
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Info(InfoArgs),
    Fsck(FsckArgs),
    Prune(PruneArgs),
}

/// Show what this host offers, and what is done where it lacks something
#[derive(clap::Args, Debug)]
pub(crate) struct InfoArgs {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Check every promise the store makes
///
/// Every blob is hashed again, every name and every unpacked layer is looked at. Everything that is wrong is shown.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 1 where something is wrong and was not mended.")]
struct FsckArgs {
    /// Remove what is damaged, so that it can be pulled again
    #[arg(long)]
    repair: bool,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

/// Remove what no name and no container leads to
#[derive(clap::Args, Debug)]
struct PruneArgs {
    /// Accepted for habit: nothing is asked
    #[arg(short, long, hide = true)]
    force: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    match &args.verb {
        Verb::Info(args) => show_info(args, session),
        Verb::Fsck(args) => check(args, session).context(|| "system fsck"),
        Verb::Prune(_) => prune(session).context(|| "system prune"),
    }
}

/// `conex system info`, `conex info`
pub(crate) fn show_info(args: &InfoArgs, session: &Session) -> CommandResult {
    let info = info(&session.engine()?, env!("CARGO_PKG_VERSION"), session.environment.is_rootless());
    let value = serde_json::to_value(&info).map_err(|error| CommandError::tool(error.to_string()))?;
    match args.format.as_deref() {
        Some("json") => output::print(&output::pretty(&value))?,
        Some(format) => output::print(&template::render_line(format, &value)?)?,
        None => output::print(&page(&value))?,
    }
    Ok(0)
}

fn page(info: &Value) -> String {
    let mut text = String::new();
    for (key, title) in [
        ("Version", "conex"),
        ("Kernel", "kernel"),
        ("Architecture", "architecture"),
        ("Rootless", "rootless"),
        ("Store", "store"),
        ("RunRoot", "run root"),
        ("Driver", "layers by"),
        ("Cgroups", "cgroups"),
        ("Runtime", "runtime"),
        ("RuntimeVersion", "runtime version"),
    ] {
        text.push_str(&format!("{title:<16} {}\n", template::text(&info[key])));
    }
    let columns = [
        Column { title: "KERNEL FEATURE", field: "Name" },
        Column { title: "SINCE", field: "Since" },
        Column { title: "HERE", field: "Here" },
        Column { title: "WITHOUT IT", field: "Fallback" },
    ];
    let rows: Vec<Value> = info["Features"].as_array().into_iter().flatten().map(with_yes_or_no).collect();
    text.push('\n');
    text + &table::draw(&rows, &columns)
}

fn with_yes_or_no(feature: &Value) -> Value {
    let mut feature = feature.clone();
    feature["Here"] = if feature["Available"] == true { "yes" } else { "no" }.into();
    feature
}

fn check(args: &FsckArgs, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    session.enter_user_namespace()?;
    let swept = if args.repair { container::sweep(&engine)? } else { 0 };
    let report = fsck(&*engine.store()?, FsckOptions { repair: args.repair })?;
    let unfinished = container::has_garbage(&engine)?;
    let broken: Vec<String> = container::list(&engine)?.broken.iter().map(ToString::to_string).collect();
    if args.json {
        let mut value =
            serde_json::to_value(&report).map_err(|error| CommandError::tool(error.to_string()))?;
        value["containers"] = json!({ "broken": broken, "unfinished": unfinished, "removed": swept });
        output::print(&output::pretty(&value))?;
    } else {
        for container in &broken {
            output::print_line(container)?;
        }
        output::print(&told(&report))?;
        if swept > 0 {
            output::print_line(&format!("removed {swept} containers that were half made"))?;
        }
        if unfinished {
            output::print_line("garbage: containers that were half made; the next run removes them")?;
        }
    }
    let wrong = !broken.is_empty() || report.violations.iter().any(|violation| !violation.repaired);
    Ok(u8::from(wrong))
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    for violation in &report.violations {
        let class = json!(violation.class);
        let mended = if violation.repaired { " (mended)" } else { "" };
        text.push_str(&format!("{}: {}: {}{mended}\n", template::text(&class), violation.at, violation.what));
    }
    for garbage in &report.garbage {
        text.push_str(&format!("garbage: {garbage}\n"));
    }
    let Report { names, blobs, bytes, layers, violations, .. } = report;
    let verdict = match violations.len() {
        0 => "clean".to_owned(),
        1 => "1 violation".to_owned(),
        more => format!("{more} violations"),
    };
    text + &format!("{names} names, {blobs} blobs ({}), {layers} layers: {verdict}\n", units::size(*bytes))
}

fn prune(session: &Session) -> CommandResult {
    let engine = session.engine()?;
    session.enter_user_namespace()?;
    let containers = container::sweep(&engine)?;
    conex_build::execute::sweep(&engine)?;
    conex_build::execute::forget(&engine)?;
    let report = image::collect(&engine)?;
    output::print_line(&format!(
        "removed {} blobs, {} layers, {} leftovers, {containers} half-made containers: {}",
        report.blobs,
        report.layers,
        report.leftovers,
        units::size(report.bytes)
    ))?;
    Ok(0)
}
