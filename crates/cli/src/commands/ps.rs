// SPDX-License-Identifier: Apache-2.0
//! `conex ps`

use conex_engine::container::{self, State, Summary};
use serde_json::{Value, json};

use crate::error::{CommandError, CommandResult};
use crate::output::table::Column;
use crate::output::{self, units};
use crate::session::Session;

/// Show containers
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex ps                                   those that run
  conex ps -a                                all
  conex ps -a --filter status=exited -q      ids, for scripts
  conex ps --format '{{.Names}} {{.Status}}'
Filters: id, name, label, status, exited, ancestor. The same key again is an or, another one an and.")]
pub(crate) struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Print the ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// The newest so many, whatever they are doing
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// The newest, whatever it is doing
    #[arg(short, long)]
    latest: bool,
    /// Only those that this is true of: KEY=VALUE
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, a Go template, or table TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const COLUMNS: [Column; 7] = [
    Column { title: "CONTAINER ID", field: "ID" },
    Column { title: "IMAGE", field: "Image" },
    Column { title: "COMMAND", field: "Command" },
    Column { title: "CREATED", field: "RunningFor" },
    Column { title: "STATUS", field: "Status" },
    Column { title: "PORTS", field: "Ports" },
    Column { title: "NAMES", field: "Names" },
];

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let filters = args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let newest = args.last.or(args.latest.then_some(1));
    let by_status = filters.iter().any(|filter| ["status", "exited"].contains(&filter.key.as_str()));
    let container::Listing { containers: mut found, broken } = container::list(&engine)?;
    broken.into_iter().for_each(|error| output::note(CommandError::from(error).report("conex").trim_end()));
    found.retain(|one| args.all || newest.is_some() || by_status || one.state.is_running());
    found.retain(|one| accepts(&filters, one));
    found.truncate(newest.unwrap_or(usize::MAX));
    let rows: Vec<Value> = found.iter().map(|one| row(one, args.no_trunc, session)).collect();
    if args.quiet {
        let ids: String =
            rows.iter().map(|row| format!("{}\n", output::template::text(&row["ID"]))).collect();
        return output::print(&ids).map(|()| 0);
    }
    output::print_rows(&rows, &COLUMNS, args.format.as_deref())
}

/// `KEY=VALUE`
struct Filter {
    key: String,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let known = ["id", "name", "label", "status", "exited", "ancestor"];
        match text.split_once('=') {
            Some((key, value)) if known.contains(&key) => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(CommandError::usage(format!("filter {text:?} is not understood"))
                .with_hint(format!("write KEY=VALUE, where KEY is one of {}", known.join(" ")))),
        }
    }

    fn is_true_of(&self, one: &Summary) -> bool {
        let (record, value) = (&one.record, self.value.as_str());
        match self.key.as_str() {
            "id" => record.id.starts_with(value),
            "name" => record.name.contains(value),
            "status" => one.state.word() == value,
            "exited" => matches!(&one.state, State::Exited(Some(exit)) if exit.code.to_string() == value),
            "ancestor" => record.image.contains(value) || record.image_id.hex().starts_with(value),
            _ => match value.split_once('=') {
                Some((name, value)) => record.labels.get(name).is_some_and(|label| label == value),
                None => record.labels.contains_key(value),
            },
        }
    }
}

/// Filters of one key are alternatives; all keys must be satisfied.
fn accepts(filters: &[Filter], one: &Summary) -> bool {
    filters.iter().all(|filter| filters.iter().any(|other| other.key == filter.key && other.is_true_of(one)))
}

fn row(one: &Summary, whole: bool, session: &Session) -> Value {
    let record = &one.record;
    let command = record.args.join(" ");
    let short: String = command.chars().take(19).collect();
    let command = if whole || command.chars().count() <= 20 { command } else { format!("{short}…") };
    let image = record.image.parse().map_or_else(
        |_| record.image.clone(),
        |reference: conex_spec::distribution::Reference| {
            let tag = reference.tag_or_latest().map(|tag| format!(":{tag}")).unwrap_or_default();
            format!("{}{tag}", session.repository(&reference))
        },
    );
    json!({
        "ID": if whole { record.id.as_str() } else { &record.id[..12] },
        "Image": image,
        "ImageID": record.image_id,
        "Command": format!("\"{command}\""),
        "CreatedAt": record.created,
        "RunningFor": format!("{} ago", units::since(record.created)),
        "State": one.state.word(),
        "Status": status(one),
        "Ports": "",
        "Names": record.name,
        "Labels": record.labels,
        "Networks": record.network.word(),
    })
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`
pub(crate) fn status(one: &Summary) -> String {
    match &one.state {
        State::Created => "Created".to_owned(),
        State::Running | State::Paused => {
            let since = one.record.started.unwrap_or(one.record.created);
            let paused = if one.state == State::Paused { " (Paused)" } else { "" };
            format!("Up {}{paused}", units::since(since))
        }
        State::Exited(Some(exit)) => {
            format!("Exited ({}) {} ago", exit.code, units::since(exit.finished))
        }
        State::Exited(None) => "Exited (unknown)".to_owned(),
    }
}
