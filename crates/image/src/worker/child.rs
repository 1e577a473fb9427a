// SPDX-License-Identifier: Apache-2.0
//! The worker itself: gives up everything, then unpacks what comes in.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use conex_sys::path::Dir;
use conex_sys::{confine, process};

use super::message::{self, Answer, DESCRIPTION, Job};
use super::{Site, describe};
use crate::layer::apply::Tree;
use crate::layer::pass::{Feed, pass};
use crate::{Result, Wrap};

/// The worker's whole life; its exit code. Expects the three descriptors of the drawing above, and a single thread.
pub fn serve() -> u8 {
    let answered = copy(io::stdout()).map(BufWriter::new).and_then(|mut answers| {
        let answer = work(&mut answers).unwrap_or_else(|error| Answer::failed(&error));
        message::send_json(&mut answers, &answer)?;
        Ok(answers.flush()?)
    });
    u8::from(answered.is_err())
}

fn copy(of: impl AsFd) -> Result<File> {
    Ok(File::from(of.as_fd().try_clone_to_owned()?))
}

fn work(answers: &mut BufWriter<File>) -> Result<Answer> {
    process::set_parent_death_signal(Some(9))?;
    process::set_umask(0);
    let mut jobs = copy(io::stdin())?;
    let job = message::receive(&mut jobs)?.ok_or_else(|| super::confused("nothing to do"))?;
    let Job { tree, below, options } = message::parse(&job)?;
    let base = confined().wrap(|| "confine the process that unpacks")?;
    let site = Site { base, tree, below };
    let mut tree = site.begin(options)?.with_exact_modes();
    while let Some(size) = message::receive(&mut jobs)? {
        let size = size.try_into().map_err(|_| super::confused("a size"))?;
        let answer = layer(&mut tree, u64::from_le_bytes(size), &mut jobs)?;
        message::send_json(answers, &answer)?;
        answers.flush()?;
    }
    // Lines are short, frames need not be.
    let mut description = BufWriter::with_capacity(64 << 10, Description(answers));
    describe(tree, &super::descend(&site.base, &site.tree)?, &mut description)?;
    description.flush()?;
    drop(description);
    Ok(Answer::Finished)
}

/// Leaves nothing open that leads elsewhere: the directory as it came in is replaced by the one to use.
fn confined() -> Result<Dir> {
    let given = Dir::from(OwnedFd::from(copy(io::stderr())?));
    let base = confine::to_directory(&given)?;
    process::set_standard(2, base.as_fd())?;
    Ok(base)
}

fn layer(tree: &mut Tree, size: u64, jobs: &mut File) -> Result<Answer> {
    let (diff_id, applied) = pass(size, |feed| forward(jobs, feed), |archive| tree.apply(archive))?;
    Ok(Answer::Applied { diff_id, applied })
}

/// One layer's bytes, straight into the buffers of the pass.
fn forward(jobs: &mut File, feed: &mut Feed) -> Result<()> {
    while let Some(mut left) = message::next(jobs)? {
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            let mut buffer = feed.buffer();
            let most = left.min(buffer.len());
            let len = jobs.read(&mut buffer[..most])?;
            if len == 0 {
                return Err(super::confused("cut off"));
            }
            left -= len;
            feed.send(buffer, len);
        }
    }
    Err(super::confused("cut off"))
}

/// Puts what is written to it into frames.
struct Description<'a>(&'a mut BufWriter<File>);

impl Write for Description<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(message::MAX - 1)];
        let length = u32::try_from(part.len() + 1).expect("at most a mebibyte");
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(&[DESCRIPTION])?;
        self.0.write_all(part)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
