// SPDX-License-Identifier: Apache-2.0
//! `conex builder config`

use std::time::SystemTime;

use conex_build::container::{Healthcheck, Setting, configure};
use conex_spec::Timestamp;

use super::words::{for_shell, list_or, split};
use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::units::parse_duration;
use crate::session::Session;

/// Set what the image will say
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder config -e ENVIRONMENT=test --port 80 --cmd 'httpd -f' c
  conex builder config --entrypoint '[\"/bin/app\"]' --label version=2 c
  conex builder config --env A- --label - c  remove a variable; all labels")]
pub(crate) struct Args {
    /// Name or id of the working container
    container: String,
    /// Write it into the history
    #[arg(long)]
    add_history: bool,
    /// A variable: NAME=VALUE; NAME- removes it, - all
    #[arg(short, long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    env: Vec<String>,
    /// A label: KEY=VALUE; KEY- removes it, - all
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    label: Vec<String>,
    /// An annotation of the manifest: KEY=VALUE; KEY- removes it, - all
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    annotation: Vec<String>,
    /// A port: 80, 53/udp; PORT- removes it
    #[arg(short, long, value_name = "PORT", allow_hyphen_values = true)]
    port: Vec<String>,
    /// A volume: PATH; PATH- removes it
    #[arg(short, long, value_name = "PATH", allow_hyphen_values = true)]
    volume: Vec<String>,
    /// The program, or its arguments: words, or a JSON array
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    cmd: Option<String>,
    /// The program: a JSON array, or a line for the shell
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    entrypoint: Option<String>,
    /// The shell: words, or a JSON array
    #[arg(long, value_name = "WORDS")]
    shell: Option<String>,
    /// The user: USER[:GROUP]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The directory in which the program starts
    #[arg(long, alias = "workingdir", value_name = "DIR")]
    working_dir: Option<String>,
    /// What ends it
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// How to tell that it is well: words, CMD …, CMD-SHELL …, NONE
    #[arg(long, value_name = "WORDS")]
    healthcheck: Option<String>,
    /// Between two checks
    #[arg(long, value_name = "DURATION")]
    healthcheck_interval: Option<String>,
    /// For one check
    #[arg(long, value_name = "DURATION")]
    healthcheck_timeout: Option<String>,
    /// Before failures count
    #[arg(long, value_name = "DURATION")]
    healthcheck_start_period: Option<String>,
    /// How many failures
    #[arg(long, value_name = "NUMBER")]
    healthcheck_retries: Option<u64>,
    /// An instruction for those who build on the image
    #[arg(long, value_name = "INSTRUCTION", allow_hyphen_values = true)]
    onbuild: Vec<String>,
    /// Who made it
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// The architecture
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// The operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// The variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// A feature of the operating system
    #[arg(long, value_name = "FEATURE")]
    os_feature: Vec<String>,
    /// What the history says of the next commit
    #[arg(long, value_name = "WORDS")]
    created_by: Option<String>,
    /// And why
    #[arg(long, alias = "comment", value_name = "WORDS")]
    history_comment: Option<String>,
    /// The host name in `run`
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let settings = settings(args).map_err(CommandError::usage)?;
    let engine = engine(session)?;
    let context = || format!("config {}", args.container);
    let mut held = hold(&engine, &args.container).context(context)?;
    let now = Timestamp::from(SystemTime::now()).to_string();
    configure(&mut held.record, &settings, args.add_history.then_some(&now)).context(context)?;
    held.save().context(context)?;
    Ok(0)
}

fn settings(args: &Args) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    type Of = fn(String) -> Setting;
    let lists: [(&[String], Of); 7] = [
        (&args.env, Setting::Env),
        (&args.label, Setting::Label),
        (&args.annotation, Setting::Annotation),
        (&args.port, Setting::Port),
        (&args.volume, Setting::Volume),
        (&args.onbuild, Setting::OnBuild),
        (&args.os_feature, Setting::OsFeature),
    ];
    for (texts, of) in lists {
        settings.extend(texts.iter().cloned().map(of));
    }
    let single: [(&Option<String>, Of); 11] = [
        (&args.user, Setting::User),
        (&args.working_dir, Setting::WorkingDir),
        (&args.stop_signal, Setting::StopSignal),
        (&args.author, Setting::Author),
        (&args.arch, Setting::Architecture),
        (&args.os, Setting::Os),
        (&args.variant, Setting::Variant),
        (&args.os_version, Setting::OsVersion),
        (&args.created_by, Setting::CreatedBy),
        (&args.history_comment, Setting::Comment),
        (&args.hostname, Setting::Hostname),
    ];
    for (text, of) in single {
        settings.extend(text.iter().cloned().map(of));
    }
    if let Some(text) = &args.entrypoint {
        settings.push(Setting::Entrypoint(list_or(text, for_shell)?));
    }
    if let Some(text) = &args.cmd {
        settings.push(Setting::Cmd(list_or(text, split)?));
    }
    if let Some(text) = &args.shell {
        settings.push(Setting::Shell(list_or(text, split)?));
    }
    health(args, &mut settings)?;
    Ok(settings)
}

fn health(args: &Args, settings: &mut Vec<Setting>) -> Result<(), String> {
    if let Some(text) = &args.healthcheck {
        let words = list_or(text, split)?;
        let test = match words.first().map(String::as_str) {
            Some("CMD" | "CMD-SHELL" | "NONE") => words,
            _ => ["CMD-SHELL".to_owned(), text.clone()].to_vec(),
        };
        settings.push(Setting::Healthcheck(Healthcheck::Test(test)));
    }
    for (text, field) in [
        (&args.healthcheck_interval, "Interval"),
        (&args.healthcheck_timeout, "Timeout"),
        (&args.healthcheck_start_period, "StartPeriod"),
    ] {
        if let Some(text) = text {
            let nanoseconds = u64::try_from(parse_duration(text)?.as_nanos()).unwrap_or(u64::MAX);
            settings.push(Setting::Healthcheck(Healthcheck::Time(field, nanoseconds)));
        }
    }
    settings
        .extend(args.healthcheck_retries.map(|number| Setting::Healthcheck(Healthcheck::Retries(number))));
    Ok(())
}
