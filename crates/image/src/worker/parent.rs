// SPDX-License-Identifier: Apache-2.0
//! The side that starts the worker and gives it its bytes. It believes nothing that the worker says but what concerns
//! the worker's own tree, and shows nothing of it that could steer a terminal.

use std::io::{BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use conex_spec::DiffId;

use super::message::{self, Answer, DESCRIPTION, Job};
use super::{NAME, Site, Take, confused};
use crate::layer::apply::{Applied, Options};
use crate::{Error, Result, Wrap};

/// As long as a sentence may get.
const MAX_MESSAGE: usize = 4096;

/// A running worker. Dropped before it has finished, it is killed.
pub(super) struct Worker {
    process: Child,
    /// `None` once it wants no more.
    jobs: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(super) fn start(program: &Path, site: &Site, options: Options) -> Result<Self> {
        let base = OwnedFd::from(site.base.try_clone()?);
        let mut command = Command::new(program);
        command.arg0(NAME).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(base);
        let mut process = command.spawn().wrap(|| format!("start {} to unpack", program.display()))?;
        let jobs = process.stdin.take().expect("asked for above");
        let answers = BufReader::new(process.stdout.take().expect("asked for above"));
        // Fewer changes between the two; without the right to it, more.
        let _ = conex_sys::file::enlarge_pipe(&jobs, 1 << 20);
        let mut worker = Self { process, jobs: Some(jobs), answers };
        let job = Job { tree: site.tree.clone(), below: site.below.clone(), options };
        message::send_json(worker.jobs.as_mut().expect("just put there"), &job)
            .wrap(|| "the process that unpacks")?;
        Ok(worker)
    }

    pub(super) fn layer(
        &mut self,
        size: u64,
        fetch: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<(DiffId, Applied)> {
        self.hand_over(&size.to_le_bytes());
        fetch(&mut |bytes| bytes.chunks(message::MAX).for_each(|part| self.hand_over(part)))?;
        self.hand_over(b"");
        match self.answer(&mut std::io::sink())? {
            Answer::Applied { diff_id, applied } => Ok((diff_id, applied)),
            other => Err(confused(&format!("{other:?} after a layer"))),
        }
    }

    /// A worker that has failed reads no more; why, it says in its answer.
    fn hand_over(&mut self, payload: &[u8]) {
        if self.jobs.as_mut().is_some_and(|jobs| message::send(jobs, payload).is_err()) {
            self.jobs = None;
        }
    }

    pub(super) fn finish(mut self, description: &mut dyn Write) -> Result<()> {
        self.jobs = None;
        match self.answer(description)? {
            Answer::Finished => Ok(()),
            other => Err(confused(&format!("{other:?} at the end"))),
        }
    }

    fn answer(&mut self, description: &mut dyn Write) -> Result<Answer> {
        loop {
            let payload = message::receive(&mut self.answers).ok().flatten();
            match payload.as_deref() {
                None => return Err(self.gone()),
                Some([DESCRIPTION, part @ ..]) => description.write_all(part)?,
                Some(payload) => match message::parse(payload)? {
                    Answer::Failed { kind, message, hint } => {
                        let error = Error::new(kind, plain(&message));
                        return Err(hint.iter().fold(error, |error, hint| error.with_hint(plain(hint))));
                    }
                    answer => return Ok(answer),
                },
            }
        }
    }

    /// It has ended without a word.
    fn gone(&mut self) -> Error {
        let _ = self.process.kill();
        confused(&match self.process.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("ended with code {}", status.code().unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a whole tree it has ended by itself, and the kill comes too late to matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_MESSAGE).collect()
}
