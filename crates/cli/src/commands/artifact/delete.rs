// SPDX-License-Identifier: Apache-2.0
//! `artifact delete`.

use crate::error::CommandResult;
use crate::session::{RegistryArgs, Session};

/// Delete an artifact from a registry
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Which
    pub(super) name: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    super::remote(session, &args.registry, &super::reference(&args.name)?)?.delete()?;
    Ok(0)
}
