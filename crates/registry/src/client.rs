// SPDX-License-Identifier: Apache-2.0
//! The client: hosts, connections and warnings, shared by all threads and all repositories.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::{Arc, Mutex};

use conex_spec::distribution::Reference;
use ureq::http::{HeaderMap, Method};

use crate::auth::Scopes;
use crate::http::{Agents, Answer, Ask, Host, Origin, Trust, parse_uri};
use crate::settings::lock;
use crate::sightings::Sightings;
use crate::{Remote, Result, Settings};

/// Most bytes of warnings from one answer (distribution-spec #warnings).
const WARNINGS_CAP: usize = 4096;

/// Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) agents: Agents,
    pub(crate) sightings: Sightings,
    hosts: Mutex<HashMap<(String, bool), Arc<Host>>>,
    warned: Mutex<HashSet<String>>,
}

impl Client {
    /// Opens no connection and reads no certificate yet.
    pub fn new(settings: Settings) -> Self {
        let sightings = Sightings::new(settings.sightings.as_deref());
        Self {
            shared: Arc::new(Shared {
                settings,
                sightings,
                agents: Agents::default(),
                hosts: Mutex::default(),
                warned: Mutex::default(),
            }),
        }
    }

    /// The image or repository that `reference` names, seen through this client.
    pub fn remote(&self, reference: &Reference) -> Remote {
        Remote::new(self.clone(), reference.clone())
    }

    /// What is at an http or https address, at most `cap` bytes; nobody is logged in there. `None`: nothing is.
    pub fn fetch(&self, address: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        self.get(address)?.map(|mut answer| answer.read_capped(cap)).transpose()
    }

    /// The same of any length, to be read once.
    pub fn open(&self, address: &str) -> Result<Option<impl Read + use<>>> {
        Ok(self.get(address)?.map(Answer::into_reader))
    }

    fn get(&self, address: &str) -> Result<Option<Answer>> {
        let uri = parse_uri(address)?;
        let origin = Origin::of(&uri)?;
        let trust = Trust::of(&origin.host, false, self.shared.settings.tls.verify);
        let host = Host::at(&origin.authority(), origin, trust);
        let answer = host.send(&self.shared, Ask::at(Method::GET, uri, Scopes::none()).expect(&[404]))?;
        if answer.status == 404 {
            answer.finish();
            return Ok(None);
        }
        Ok(Some(answer))
    }

    /// Whether `host` knows whom the settings log in as there. A host that demands no login knows everybody.
    pub fn check_login(&self, host: &str) -> Result<bool> {
        let insecure = self.shared.settings.registries.is_insecure(host);
        let host = self.shared.host(host, insecure)?;
        let answer =
            host.send(&self.shared, Ask::new(Method::GET, "/v2/", Scopes::login()).expect(&[401]))?;
        let known = answer.status != 401;
        answer.finish();
        Ok(known)
    }
}

impl Shared {
    /// The host called `name`.
    pub(crate) fn host(&self, name: &str, insecure: bool) -> Result<Arc<Host>> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(&(name.to_owned(), insecure)) {
            return Ok(host.clone());
        }
        let host = Arc::new(Host::new(name, insecure, self.settings.tls.verify)?);
        hosts.insert((name.to_owned(), insecure), host.clone());
        Ok(host)
    }

    /// Passes on each distinct warning once.
    pub(crate) fn heed_warnings(&self, headers: &HeaderMap) {
        let Some(listener) = &self.settings.on_warning else { return };
        let mut room = WARNINGS_CAP;
        for value in headers.get_all("warning") {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            if text.len() > room {
                return;
            }
            room -= text.len();
            if lock(&self.warned).insert(text.clone()) {
                listener(&text);
            }
        }
    }
}

/// `299 - "text"`, with `\"` and `\\` inside.
fn warning_text(value: &str) -> Option<String> {
    let quoted = value.trim().strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { chars.next()? } else { c };
        text.push(if c.is_control() { ' ' } else { c });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::warning_text;

    #[test]
    fn a_warning_is_unquoted_and_harmless() {
        assert_eq!(warning_text(r#"299 - "say \"when\"""#).unwrap(), "say \"when\"");
        assert_eq!(warning_text("299 - \"a\u{1b}[2J\"").unwrap(), "a [2J");
        assert_eq!(warning_text("199 - \"other\""), None);
        assert_eq!(warning_text("299 - unquoted"), None);
    }
}
