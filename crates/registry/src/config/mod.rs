// SPDX-License-Identifier: Apache-2.0
//! The ecosystem's configuration files as values. Each reader takes a file's *contents*; which files those are, and
//! in which order they count, is decided where the environment is read.
//!
//! | file | read by |
//! |---|---|
//! | `registries.conf` (version 2), `registries.conf.d/*.conf` | [`Registries`] |
//! | `auth.json`, docker's `config.json`, credential helpers | [`AuthFile`], [`CredentialHelper`]; written by [`AuthChange`] |
//! | `registries.d/*.yaml` | [`Lookasides`] |
//! | `certs.d/<host>/*.{crt,cert,key}` | [`HostCertificates`] |

mod auth_change;
mod auth_file;
mod certificates;
mod credential_helper;
mod lookasides;
mod registries;
pub mod yaml;

pub use auth_change::AuthChange;
pub use auth_file::AuthFile;
pub use certificates::HostCertificates;
pub use credential_helper::CredentialHelper;
pub use lookasides::{Lookasides, Purpose, reference_scopes};
pub use registries::{AUTH_FILES, Endpoint, PullFrom, Registries, ShortNameMode};
