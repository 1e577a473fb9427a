// SPDX-License-Identifier: Apache-2.0
//! `run`: create, start and, unless detached, stay until the container's end and delete it.

use conex_sys::process;

use crate::cli::Runtime;
use crate::create::{Begin, Options, create_container};
use crate::foreground::Foreground;
use crate::start::{check_process, release, watch};
use crate::{Result, delete};

/// What only `run` knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Leave the stopped container.
    pub keep: bool,
    /// Do not adopt the container's orphans.
    pub no_subreaper: bool,
}

/// The verb. Returns the status to exit with.
pub(crate) fn run(runtime: &Runtime, options: &Options, keep: Keep) -> Result<i32> {
    let foreground = if options.detach {
        None
    } else {
        if !keep.no_subreaper {
            process::set_child_subreaper()?;
        }
        Some(Foreground::new()?)
    };
    let begin = if options.detach { Begin::WhenTold } else { Begin::AtOnce };
    let mut created = create_container(runtime, &Options { begin, ..options.clone() })?;
    let (container, hooks, trace) = (&created.container, &created.hooks, &options.trace);
    let start = || if created.has_begun { Ok(()) } else { watch(container, hooks, &release(container)?) };
    let started = check_process(created.has_process).and_then(|()| trace.span("start", start));
    if let Err(error) = started {
        delete::destroy(runtime, created.container, &created.hooks)?;
        return Err(error);
    }
    let Some(foreground) = foreground else { return Ok(0) };
    let exit = trace.span("wait for the end", || foreground.wait(&created.child, created.console))?;
    created.container.forget_init();
    if !keep.keep {
        trace.span("delete", || delete::destroy(runtime, created.container, &created.hooks))?;
    }
    Ok(exit.code())
}
