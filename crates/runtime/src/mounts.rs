// SPDX-License-Identifier: Apache-2.0
//! crun's `mounts`: adds mounts to a container that runs, and takes them away.
//!
//! ```text
//!  runtime, on the host                      a process in all of the container's namespaces
//!  opens the sources, maps their ids   ───►  resolves each target inside the root to a descriptor,
//!                                            attaches the source there
//! ```
//!
//! Nothing of the host is opened where the container could have a hand in it, and nothing that it exchanges meanwhile
//! leads out of its root. The process is not in the container's cgroup, and nobody in the container can trace it.
//! It walks the steps of a plan as `create` does, so a mount is the same whether it was there from the beginning; and
//! then it is in the container's own copy of its configuration, where `state --live` looks for it.

use std::os::fd::AsFd;
use std::path::Path;

use conex_spec::runtime::{Config, Mount, Status, Violation, validate_destinations, validate_mounts};
use conex_sys::process;

use crate::cgroup::Layout;
use crate::cli::Runtime;
use crate::container::Container;
use crate::init::{self, Inherited};
use crate::launch::{self, Birth, Join, Place};
use crate::plan::{Plan, Request, plan_mounts, plan_unmounts};
use crate::sync::{Channel, Message};
use crate::trace::Trace;
use crate::{Error, ErrorKind, Result, Wrap, bundle, create, exec, sources};

/// `mounts add`: each mount of a file, in order. Sources are as in config.json: relative ones are of the bundle.
pub(crate) fn add(runtime: &Runtime, id: &str, file: &str) -> Result<()> {
    let (container, mut config, mounts) = read(runtime, id, file, validate_mounts)?;
    let request =
        Request { id: id.to_owned(), bundle: container.record.bundle().to_owned(), ..Request::default() };
    let plan = plan_mounts(&config, &mounts, &request, &create::find_out(runtime, Layout::detect()?)?)
        .map_err(|error| bundle::not_to_be_had(error, "", Path::new(file)))?;
    walk(&container, &config, &plan)?;
    config.mounts.extend(mounts);
    container.save_config(&config)
}

/// `mounts remove`: by their destinations, the one that was mounted last.
pub(crate) fn remove(runtime: &Runtime, id: &str, file: &str) -> Result<()> {
    let (container, mut config, mounts) = read(runtime, id, file, validate_destinations)?;
    walk(&container, &config, &plan_unmounts(&mounts))?;
    for gone in mounts {
        if let Some(index) = config.mounts.iter().rposition(|one| one.destination == gone.destination) {
            config.mounts.remove(index);
        }
    }
    container.save_config(&config)
}

fn read(
    runtime: &Runtime,
    id: &str,
    file: &str,
    rules: fn(&Vec<Mount>) -> Vec<Violation>,
) -> Result<(Container, Config, Vec<Mount>)> {
    let container = Container::open(&runtime.root, id)?.lock()?;
    if container.status()? == Status::Creating {
        // Its init may still see the host's root.
        return Err(Error::new(ErrorKind::State, "cannot mount in a container that is still being created"));
    }
    let config = container.config()?;
    Ok((container, config, bundle::load_mounts(file, rules)?))
}

/// All steps, or up to the first that fails: what was done before it stays, and the error says which it was.
fn walk(container: &Container, config: &Config, plan: &Plan) -> Result<()> {
    let target = container.init()?.ok_or_else(|| Error::new(ErrorKind::State, "container not running"))?;
    let sources = sources::open_all(plan, &Trace::default())?;
    let inherited = Inherited { sources, ..Inherited::entering(container, config, target.as_fd())? };
    let birth = Birth {
        join: Join::Process(target, exec::namespaces_of(container, config)?),
        undumpable: true,
        keep: inherited.descriptors(),
        ..Birth::default()
    };
    let body = |channel: &Channel| init::run(plan, &inherited, channel);
    let (child, channel) = launch::launch(&birth, Place::Inherited, body)?;
    let done = channel.tell(&Message::Go);
    let done = done.and_then(|()| channel.expect(|word| matches!(word, Message::Ready)));
    process::wait(child.pidfd.as_fd()).wrap(|| "wait for the process that mounts")?;
    done
}
