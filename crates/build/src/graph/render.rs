// SPDX-License-Identifier: Apache-2.0
//! A graph as text: for those who look at it, and for golden files.

use std::fmt;

use super::{Graph, Source, Step};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes.iter().enumerate() {
            let target = if id == self.target { " = target" } else { "" };
            writeln!(f, "{id} {} at {}{target}", node.name, node.span)?;
            write_step(f, &node.step)?;
        }
        let config = serde_json::to_string_pretty(&self.config.config).map_err(|_| fmt::Error)?;
        writeln!(f, "config {config}")?;
        if let Some(author) = &self.config.author {
            writeln!(f, "author {author}")?;
        }
        for event in &self.history {
            let node = event.node.map_or_else(|| "-".to_owned(), |node| node.to_string());
            writeln!(f, "history {node} {}", event.created_by.replace('\n', "\\n"))?;
        }
        for name in &self.unused_args {
            writeln!(f, "unused --build-arg {name}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning {} {}: {}", warning.span, warning.rule, warning.message)?;
        }
        Ok(())
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    match step {
        Step::Scratch => writeln!(f, "    scratch"),
        Step::Image(base) => writeln!(f, "    image {} {}", base.name, base.platform),
        Step::Context(name) => writeln!(f, "    context {}", name.as_deref().unwrap_or("(build)")),
        Step::Directory(directory) => {
            writeln!(f, "    directory {} of {:?} on {}", directory.path, directory.user, directory.parent)
        }
        Step::Run(run) => {
            writeln!(f, "    run {:?} on {}", run.args, run.parent)?;
            writeln!(f, "      in {} as {:?} env {:?}", run.cwd, run.user, run.env)?;
            if run.insecure || run.network != crate::containerfile::Network::Default {
                writeln!(f, "      network {:?} insecure {}", run.network, run.insecure)?;
            }
            if let Some((name, text)) = &run.script {
                writeln!(f, "      script {name} {text:?}")?;
            }
            for device in &run.devices {
                writeln!(f, "      device {device:?}")?;
            }
            for (mount, from) in &run.mounts {
                let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
                writeln!(f, "      mount {}{from} {:?}", mount.target, mount.kind)?;
            }
            Ok(())
        }
        Step::Copy(copy) => {
            let from = copy.from.map(|from| format!(" from {from}")).unwrap_or_default();
            writeln!(f, "    copy{from} to {} on {}", copy.destination, copy.parent)?;
            for source in &copy.sources {
                match source {
                    Source::Path(path) => writeln!(f, "      path {path}")?,
                    other => writeln!(f, "      {other:?}")?,
                }
            }
            let flags = (&copy.chown, &copy.chmod, copy.link, copy.parents, &copy.exclude, copy.unpack);
            writeln!(f, "      chown, chmod, link, parents, exclude, unpack: {flags:?}")
        }
    }
}
