// SPDX-License-Identifier: Apache-2.0
//! The registry behind `registry serve --upstream`, asked as any other: registries.conf, logins and certificates hold.

use conex_engine::images::transfer::Source;
use conex_engine::registry::{Client, Remote};
use conex_serve::{Result, Upstream};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;

use crate::error::CommandError;
use crate::session::Session;

/// A registry, or a part of it.
pub(super) struct RegistryBehind {
    client: Client,
    /// `docker.io`, `quay.io/team`
    prefix: String,
}

impl RegistryBehind {
    /// `text` is a host, and perhaps a path below.
    pub(super) fn parse(text: &str, session: &Session) -> Result<Self, CommandError> {
        let prefix = text.trim_end_matches('/').to_owned();
        let behind = Self { client: Client::new(session.engine()?.settings.registry), prefix };
        behind.remote("library/any", ":latest")?;
        Ok(behind)
    }

    /// `suffix`: `:tag` or `@digest`.
    fn remote(&self, repository: &str, suffix: &str) -> Result<Remote> {
        let reference: Reference = format!("{}/{repository}{suffix}", self.prefix).parse()?;
        Ok(self.client.remote(&reference))
    }
}

impl Upstream for RegistryBehind {
    fn source(&self, repository: &str, reference: &str) -> Result<Box<dyn Source>> {
        let mark = if reference.contains(':') { '@' } else { ':' };
        Ok(Box::new(self.remote(repository, &format!("{mark}{reference}"))?))
    }

    fn head(&self, repository: &str, tag: &str) -> Result<Descriptor> {
        self.remote(repository, &format!(":{tag}"))?.head()
    }

    fn referrers(&self, repository: &str, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.remote(repository, &format!("@{digest}"))?.referrers(digest, None)
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>> {
        self.remote(repository, ":latest")?.tags()
    }
}
