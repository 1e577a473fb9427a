// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Sysctl": a namespace that is joined may be the runtime's own under another name, and its
//! parameters then the host's. Whether a namespace is there at all, validation has seen.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_sys::namespace::{self, Kind};
use conex_sys::path;

use crate::plan::{Plan, Step};
use crate::{Error, ErrorKind, Result};

/// Refuses what would change the host. Without sysctls or without joined namespaces there is nothing to look at.
pub(crate) fn check(plan: &Plan, joined: &[(OwnedFd, Kind)]) -> Result<()> {
    let sysctls = plan.steps.iter().filter_map(|step| match step {
        Step::Sysctl { key, .. } => Some(key.as_str()),
        _ => None,
    });
    for key in sysctls {
        let kind = namespace_of(key);
        let of_kind = joined.iter().find(|(_, joined)| *joined == kind);
        if let Some((file, _)) = of_kind
            && is_own(file, kind)?
        {
            let name = kind.file_name();
            let what =
                format!("sysctl {key:?} not allowed in host {name} namespace: join another, or leave it out");
            return Err(Error::new(ErrorKind::Config, what));
        }
    }
    Ok(())
}

fn namespace_of(key: &str) -> Kind {
    match key.split(['.', '/']).next().unwrap_or_default() {
        "net" => Kind::Network,
        "user" => Kind::User,
        _ if key.ends_with("domainname") => Kind::Uts,
        _ => Kind::Ipc,
    }
}

fn is_own(file: &OwnedFd, kind: Kind) -> Result<bool> {
    let own = namespace::open(Path::new(&format!("/proc/self/ns/{}", kind.file_name())))?;
    let identity = |file: &OwnedFd| path::stat(file.as_fd()).map(|stat| (stat.st_dev, stat.st_ino));
    Ok(identity(file)? == identity(&own)?)
}
