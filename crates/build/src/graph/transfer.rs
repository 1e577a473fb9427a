// SPDX-License-Identifier: Apache-2.0
//! `COPY` and `ADD`.

use super::git::{self, Address};
use super::plan::{Planner, Stop};
use super::stage::{State, absolute, cwd};
use super::{Copy, NodeId, Source, Step, Unpack};
use crate::chmod::Chmod;
use crate::containerfile::{self, CopySource, Instruction, Mistake, Span};

impl Planner<'_> {
    pub(super) fn copy(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        copy: &containerfile::Copy,
        number: usize,
    ) -> Result<(), Stop> {
        let span = instruction.span;
        let sources = self.sources(state, copy, span, false)?;
        let from = match &copy.from {
            Some(name) => {
                let origin = self.origin(name, number, span)?;
                Some(self.origin_node(&origin, &state.title.clone(), span)?)
            }
            None => self.context_for(&sources, span),
        };
        Ok(self.transfer(state, instruction, copy, sources, from, Unpack::Never)?)
    }

    pub(super) fn add(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        add: &containerfile::Copy,
    ) -> Result<(), Stop> {
        let sources = self.sources(state, add, instruction.span, true)?;
        let from = self.context_for(&sources, instruction.span);
        let unpack = match add.unpack {
            None => Unpack::Local,
            Some(true) => Unpack::Always,
            Some(false) => Unpack::Never,
        };
        Ok(self.transfer(state, instruction, add, sources, from, unpack)?)
    }

    fn context_for(&mut self, sources: &[Source], span: Span) -> Option<NodeId> {
        let local = sources.iter().any(|source| matches!(source, Source::Path(_)));
        local.then(|| self.context(span))
    }

    fn transfer(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        copy: &containerfile::Copy,
        sources: Vec<Source>,
        from: Option<NodeId>,
        unpack: Unpack,
    ) -> Result<(), Mistake> {
        let span = instruction.span;
        let written = self.expand(state, &copy.destination, span)?;
        let is_directory =
            written.ends_with('/') || written.is_empty() || written.ends_with("/.") || written == ".";
        if !is_directory && sources.len() > 1 {
            return Err(Mistake::new(span, format!("several sources, but {written:?} is no directory"))
                .with_hint(format!("end it with a slash: {written}/")));
        }
        let mut destination = absolute(&cwd(state), &written);
        if is_directory && destination != "/" {
            destination.push('/');
        }
        let chown = self.flag(state, copy.chown.as_deref(), span)?;
        let mode = self.flag(state, copy.chmod.as_deref(), span)?;
        let chmod = mode.as_deref().map(|text| chmod(text, span)).transpose()?;
        let exclude = copy.exclude.clone();
        let history =
            history(instruction, &sources, copy.parents, chown.as_deref(), mode.as_deref(), &written);
        self.pay(history.len(), span)?;
        let step = Copy {
            parent: state.node,
            from,
            sources,
            destination,
            chown,
            chmod,
            link: copy.link,
            parents: copy.parents,
            exclude,
            unpack,
        };
        self.change(state, Step::Copy(Box::new(step)), &instruction.text, history, span);
        Ok(())
    }

    fn flag(&mut self, state: &State, value: Option<&str>, span: Span) -> Result<Option<String>, Mistake> {
        let value = value.map(|value| self.expand(state, value, span)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn sources(
        &mut self,
        state: &State,
        copy: &containerfile::Copy,
        span: Span,
        is_add: bool,
    ) -> Result<Vec<Source>, Mistake> {
        let checksum = self.flag(state, copy.checksum.as_deref(), span)?;
        let mut sources = Vec::new();
        for source in &copy.sources {
            sources.push(match source {
                CopySource::Inline(heredoc) if heredoc.expand => Source::Inline {
                    name: heredoc.name.clone(),
                    text: self.expand_as(state, &heredoc.body, '\\', false, span)?,
                },
                CopySource::Inline(heredoc) => {
                    Source::Inline { name: heredoc.name.clone(), text: heredoc.body.clone() }
                }
                CopySource::Path(written) => {
                    let path = self.expand(state, written, span)?;
                    match (git::address(&path), is_add) {
                        (None, _) => Source::Path(path),
                        (Some(_), false) => {
                            return Err(Mistake::new(span, format!("COPY takes no addresses: {path}"))
                                .with_hint("use ADD"));
                        }
                        (Some(Address::Url), true) => Source::Url { url: path, checksum: checksum.clone() },
                        (Some(Address::Git { remote, reference, subdirectory }), true) => Source::Git {
                            remote,
                            reference,
                            subdirectory,
                            keep_git_dir: copy.keep_git_dir.unwrap_or(false),
                            checksum: checksum.clone(),
                        },
                    }
                }
            });
        }
        let checked = matches!(sources.as_slice(), [Source::Url { .. } | Source::Git { .. }]);
        if checksum.is_some() && !checked {
            return Err(Mistake::new(span, "--checksum is for one address, and nothing else"));
        }
        Ok(sources)
    }
}

fn chmod(text: &str, span: Span) -> Result<Chmod, Mistake> {
    Chmod::parse(text).ok_or_else(|| {
        Mistake::new(span, format!("--chmod={text}: neither octal up to 07777 nor symbolic"))
            .with_hint("write 755, or u=rwX,go=rX")
    })
}

fn history(
    instruction: &Instruction,
    sources: &[Source],
    parents: bool,
    chown: Option<&str>,
    chmod: Option<&str>,
    destination: &str,
) -> String {
    let mut text = instruction.word.to_ascii_uppercase();
    if parents {
        text.push_str(" --parents");
    }
    for (name, value) in [("chown", chown), ("chmod", chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" --{name}={value}"));
        }
    }
    for source in sources {
        text.push(' ');
        match source {
            Source::Path(path) => text.push_str(path),
            Source::Inline { name, .. } => text.push_str(&format!("<<{name}")),
            Source::Url { url, .. } => text.push_str(url),
            Source::Git { remote, .. } => text.push_str(remote),
        }
    }
    format!("{text} {destination}")
}
