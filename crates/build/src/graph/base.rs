// SPDX-License-Identifier: Apache-2.0
//! What holds before the first `FROM`: arguments that are always there, the global `ARG`s, and with them the names of
//! stages and of their bases.

use std::collections::{BTreeMap, HashMap};

use conex_spec::image::Platform;

use super::variables::Variables;
use super::{Base, Request};
use crate::containerfile::expand::{self, Reading, Scope as _};
use crate::containerfile::{Containerfile, Fuel, Instruction, Kind, Mistake, Stage, nearest};
use crate::lint::{Rule, Warning};

/// Arguments that need no `ARG`, and leave no trace in the image.
pub(super) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// See the module.
pub(super) struct Globals {
    pub(super) variables: Variables,
    /// What each stage begins with.
    pub(super) bases: Vec<Base>,
    /// The numbers of the stages with a name.
    pub(super) names: HashMap<String, Vec<usize>>,
    pub(super) asked: Vec<String>,
}

impl Globals {
    pub(super) fn of(
        file: &Containerfile,
        request: &Request,
        fuel: &Fuel,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Mistake> {
        let reading = Reading { escape: file.directives.escape, quotes: true, fuel };
        let defaults = variables(file, request, false, reading).ok();
        let (variables, asked) = variables(file, request, true, reading)?;
        let mut globals = Self { variables, bases: Vec::new(), names: HashMap::new(), asked };
        for (number, stage) in file.stages.iter().enumerate() {
            let base = globals.base(stage, request, reading, warnings)?;
            if let Some((defaults, _)) = &defaults {
                check_default(stage, defaults, reading, warnings);
            }
            globals.bases.push(base);
            if let Some(name) = &stage.from.name {
                globals.names.entry(name.clone()).or_default().push(number);
            }
        }
        Ok(globals)
    }

    fn base(
        &self,
        stage: &Stage,
        request: &Request,
        reading: Reading<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Base, Mistake> {
        let span = stage.head.span;
        let wrong = |message: String| Mistake::new(span, message);
        let name = expand::word(&stage.from.base, &self.variables, reading).map_err(wrong)?;
        let mut missing = name.missing;
        let platform = match &stage.from.platform {
            None => text(&request.target_platform),
            Some(written) => {
                let platform = expand::word(written, &self.variables, reading).map_err(wrong)?;
                let parsed = parse(&platform.text).ok_or_else(|| {
                    wrong(format!("--platform={written}: {:?} is no platform", platform.text))
                })?;
                check_platform(stage, &platform, &parsed, request, warnings);
                missing.extend(platform.missing);
                text(&parsed)
            }
        };
        for name in missing {
            let names: Vec<&str> = self.variables.names().collect();
            let near =
                nearest(&name, &names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("no ARG above the first FROM declares {name}{near}");
            warnings.push(Warning::new(Rule::UndefinedArgInFrom, span, message));
        }
        Ok(Base { name: name.text, platform })
    }
}

/// `os/architecture[/variant]`
pub(super) fn text(platform: &Platform) -> String {
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if let Some(variant) = platform.variant.as_deref().filter(|variant| !variant.is_empty()) {
        text.push('/');
        text.push_str(variant);
    }
    text
}

/// The arguments that are always there, and the file's; with `given` those of the command line count.
fn variables(
    file: &Containerfile,
    request: &Request,
    given: bool,
    reading: Reading<'_>,
) -> Result<(Variables, Vec<String>), Mistake> {
    let given: BTreeMap<String, String> = if given { request.build_args.clone() } else { BTreeMap::new() };
    let mut variables = Variables::default();
    let mut asked = Vec::new();
    for (name, value) in predefined(request) {
        asked.push(name.clone());
        variables.set(&name, given.get(&name).unwrap_or(&value));
    }
    for Instruction { kind, span, .. } in &file.globals {
        let Kind::Arg(args) = kind else { continue };
        for arg in args {
            asked.push(arg.name.clone());
            let value = match (given.get(&arg.name), &arg.value) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let expanded = expand::word(default, &variables, reading);
                    Some(expanded.map_err(|message| Mistake::new(*span, message))?.text)
                }
                (None, None) => None,
            };
            if let Some(value) = value {
                variables.set(&arg.name, &value);
            }
        }
    }
    Ok((variables, asked))
}

/// The platforms, and the target.
fn predefined(request: &Request) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for (side, platform) in [("BUILD", &request.build_platform), ("TARGET", &request.target_platform)] {
        let variant = platform.variant.clone().unwrap_or_default();
        list.push((format!("{side}PLATFORM"), text(platform)));
        list.push((format!("{side}OS"), platform.os.clone()));
        list.push((format!("{side}ARCH"), platform.architecture.clone()));
        list.push((format!("{side}VARIANT"), variant));
    }
    list.push(("TARGETSTAGE".to_owned(), request.target.clone().unwrap_or_else(|| "default".to_owned())));
    list
}

fn check_platform(
    stage: &Stage,
    written: &expand::Expanded,
    platform: &Platform,
    request: &Request,
    warnings: &mut Vec<Warning>,
) {
    let span = stage.head.span;
    let target = text(&request.target_platform);
    if written.used.len() == 1 && written.used.contains("TARGETPLATFORM") && written.text == target {
        let message = "the target's platform is what FROM takes by itself";
        warnings.push(Warning::new(Rule::RedundantTargetPlatform, span, message));
    }
    let name = stage.from.name.as_deref().unwrap_or_default();
    let named = name.contains(&platform.os) || name.contains(&platform.architecture);
    if written.used.is_empty() && written.missing.is_empty() && !named {
        let message = format!("the platform is always {}, whatever is built for", written.text);
        warnings.push(Warning::new(Rule::FromPlatformFlagConstDisallowed, span, message));
    }
}

/// Whether the base has a name if nobody gives arguments.
fn check_default(stage: &Stage, defaults: &Variables, reading: Reading<'_>, warnings: &mut Vec<Warning>) {
    let Ok(name) = expand::word(&stage.from.base, defaults, reading) else { return };
    let is_name = name.text == "scratch" || name.text.parse::<conex_spec::distribution::Reference>().is_ok();
    if !is_name {
        let message =
            format!("without arguments, {} is {:?}, which names no image", stage.from.base, name.text);
        warnings.push(Warning::new(Rule::InvalidDefaultArgInFrom, stage.head.span, message));
    }
}

impl Globals {
    /// The value of a global argument, for an `ARG` in a stage.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }
}

/// `os/architecture[/variant]`, or an architecture alone.
pub(crate) fn parse(text: &str) -> Option<Platform> {
    let mut parts = text.split('/').map(str::to_owned);
    let platform = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (architecture, None, ..) => Platform { os: "linux".to_owned(), architecture, ..Platform::default() },
        (os, Some(architecture), variant, None) => {
            Platform { os, architecture, variant, ..Platform::default() }
        }
        _ => return None,
    };
    (!platform.os.is_empty() && !platform.architecture.is_empty()).then_some(platform)
}
