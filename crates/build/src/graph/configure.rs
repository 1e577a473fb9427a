// SPDX-License-Identifier: Apache-2.0
//! Instructions that change the image's configuration only.

use serde_json::{Value, json};

use super::plan::Planner;
use super::stage::{State, with_shell};
use super::{Event, ports};
use crate::containerfile::{Form, Health, Instruction, Kind, Mistake, Pair, Span};
use crate::lint::{Rule, is_secret};

impl Planner<'_> {
    pub(super) fn configure(&mut self, state: &mut State, instruction: &Instruction) -> Result<(), Mistake> {
        let span = instruction.span;
        let created_by = match &instruction.kind {
            Kind::Cmd(form) => {
                state.has_command = true;
                state.config.config.cmd = words(state, form);
                format!("CMD {:?}", state.config.config.cmd)
            }
            Kind::Entrypoint(form) => {
                state.config.config.entrypoint = words(state, form);
                if !state.has_command {
                    state.config.config.cmd.clear();
                }
                format!("ENTRYPOINT {:?}", state.config.config.entrypoint)
            }
            Kind::Env(pairs) => self.env(state, pairs, span)?,
            Kind::Label(pairs) => self.label(state, pairs, span)?,
            Kind::Expose(written) => self.expose(state, written, span)?,
            Kind::Healthcheck(health) => {
                let value = health_value(health.as_ref());
                let shown = format!("HEALTHCHECK {value}");
                state.config.config.other.insert("Healthcheck".to_owned(), value);
                shown
            }
            Kind::Maintainer(name) => {
                state.config.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
            Kind::Onbuild(onbuild) => {
                state.triggers.push(onbuild.trigger.clone());
                let list: Vec<Value> = state.triggers.iter().cloned().map(Value::String).collect();
                self.pay(onbuild.trigger.len() * list.len(), span)?;
                state.config.config.other.insert("OnBuild".to_owned(), Value::Array(list));
                return Ok(());
            }
            Kind::Shell(words) => {
                state.config.config.other.insert("Shell".to_owned(), json!(words));
                format!("SHELL {words:?}")
            }
            Kind::Stopsignal(signal) => {
                let signal = self.expand(state, signal, span)?;
                state.config.config.stop_signal.clone_from(&signal);
                format!("STOPSIGNAL {signal}")
            }
            Kind::User(user) => {
                let user = self.expand(state, user, span)?;
                state.config.config.user.clone_from(&user);
                format!("USER {user}")
            }
            Kind::Volume(volumes) => self.volumes(state, volumes, span)?,
            _ => return Ok(()),
        };
        self.pay(created_by.len(), span)?;
        state.history.push(Event { created_by, node: None });
        Ok(())
    }

    /// All values with the variables as they were before.
    fn pairs(&mut self, state: &State, pairs: &[Pair], span: Span) -> Result<Vec<(String, String)>, Mistake> {
        let mut expanded = Vec::new();
        for pair in pairs {
            expanded.push((self.expand(state, &pair.name, span)?, self.expand(state, &pair.value, span)?));
        }
        Ok(expanded)
    }

    fn env(&mut self, state: &mut State, pairs: &[Pair], span: Span) -> Result<String, Mistake> {
        let pairs = self.pairs(state, pairs, span)?;
        for (name, value) in &pairs {
            if is_secret(name) {
                self.warn_secret("ENV", name, span);
            }
            state.variables.set(name, value);
            set_env(&mut state.config.config.env, name, value);
        }
        Ok(shown("ENV", &pairs))
    }

    fn label(&mut self, state: &mut State, pairs: &[Pair], span: Span) -> Result<String, Mistake> {
        let pairs = self.pairs(state, pairs, span)?;
        state.config.config.labels.extend(pairs.iter().cloned());
        Ok(shown("LABEL", &pairs))
    }

    fn expose(&mut self, state: &mut State, written: &[String], span: Span) -> Result<String, Mistake> {
        let mut all = Vec::new();
        for word in written {
            for word in self.expand(state, word, span)?.split_whitespace() {
                let (ports, style) = ports::parse(word).map_err(|message| {
                    Mistake::new(span, message).with_hint("write EXPOSE 80, 80/udp or 7000-7010")
                })?;
                if style.upper_case {
                    self.warn(
                        Rule::ExposeProtoCasing,
                        span,
                        format!("the protocol of {word:?} is written in lower case"),
                    );
                }
                if style.mapped {
                    let message = format!("{word:?}: an address or a host's port means nothing here");
                    self.warn(Rule::ExposeInvalidFormat, span, message);
                }
                all.extend(ports);
            }
        }
        self.pay(64 * all.len(), span)?;
        state.config.config.exposed_ports.extend(all.iter().map(|port| (port.clone(), json!({}))));
        Ok(format!("EXPOSE {}", all.join(" ")))
    }

    fn volumes(&mut self, state: &mut State, volumes: &[String], span: Span) -> Result<String, Mistake> {
        let mut paths = Vec::new();
        for volume in volumes {
            paths.push(self.expand(state, volume, span)?);
        }
        state.config.config.volumes.extend(paths.iter().map(|path| (path.clone(), json!({}))));
        Ok(format!("VOLUME {paths:?}"))
    }
}

fn words(state: &State, form: &Form) -> Vec<String> {
    match form {
        Form::Exec(words) => words.clone(),
        Form::Shell(text) if text.is_empty() => Vec::new(),
        Form::Shell(text) => with_shell(state, text.clone()),
    }
}

fn shown(word: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(word.to_owned(), |text, (name, value)| format!("{text} {name}={value}"))
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

/// As docker's image specification has it.
fn health_value(health: Option<&Health>) -> Value {
    let Some(health) = health else { return json!({ "Test": ["NONE"] }) };
    let test: Vec<String> = match &health.command {
        Form::Exec(words) => ["CMD".to_owned()].into_iter().chain(words.iter().cloned()).collect(),
        Form::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
    };
    let mut value = json!({ "Test": test });
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
        ("Retries", u64::from(health.retries)),
    ];
    for (name, number) in times.into_iter().filter(|(_, number)| *number > 0) {
        value[name] = json!(number);
    }
    value
}
