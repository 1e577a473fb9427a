// SPDX-License-Identifier: Apache-2.0
//! Everything a [`Client`](crate::Client) is told: plain values, read from files and flags by somebody else.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::config::Registries;

/// What a client needs to know. Start from [`Settings::new`] and set what differs.
#[derive(Clone)]
pub struct Settings {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// What registries.conf says: mirrors, insecure and blocked hosts, short names.
    pub registries: Registries,
    /// Who logs in where.
    pub credentials: Arc<dyn Credentials>,
    /// Whom to trust.
    pub tls: TlsSettings,
    /// The way out of a closed network.
    pub proxy: ProxySettings,
    /// How long to wait, how often to try.
    pub patience: Patience,
    /// Directory that remembers where blobs were seen, for pushes to mount them; made when it is first needed.
    pub sightings: Option<PathBuf>,
    /// Where `docker-daemon:` is: `DOCKER_HOST`.
    pub docker_host: String,
    /// Hears each distinct `Warning` a registry sends, once.
    pub on_warning: Option<OnWarning>,
}

impl Settings {
    /// No files read, nobody logged in, the host's certificate authorities, no proxy.
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            registries: Registries::default(),
            credentials: Arc::new(NoCredentials),
            tls: TlsSettings::default(),
            proxy: ProxySettings::default(),
            patience: Patience::default(),
            sightings: None,
            docker_host: crate::daemon::DEFAULT_HOST.to_owned(),
            on_warning: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

/// Hears of a registry's warnings.
pub type OnWarning = Arc<dyn Fn(&str) + Send + Sync>;

/// Looks up who to be. Asked at most once for each repository, and only after the registry demanded a login.
pub trait Credentials: Send + Sync {
    /// The login for `host[:port]` and a repository there; `docker.io` is asked for by that name.
    fn find(&self, host: &str, name: &str) -> Result<Option<Login>>;
}

/// Nobody is logged in anywhere.
#[derive(Clone, Copy, Debug)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn find(&self, _host: &str, _name: &str) -> Result<Option<Login>> {
        Ok(None)
    }
}

/// One login. Its secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    Basic {
        /// The user's name.
        user: String,
        /// Sent over TLS only, unless the host is marked insecure.
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken` in auth.json).
    Identity {
        /// Exchanged at the token server for short-lived ones.
        token: String,
    },
    /// A ready bearer token (`registrytoken` in auth.json).
    Bearer {
        /// Sent as it is.
        token: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user}, …)"),
            Self::Identity { .. } => f.write_str("Identity(…)"),
            Self::Bearer { .. } => f.write_str("Bearer(…)"),
        }
    }
}

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// `--tls-verify`: `Some(false)` accepts any certificate and plain HTTP from every host, `Some(true)` from
    /// none; without the flag registries.conf decides, and plain HTTP is tried on loopback addresses only.
    pub verify: Option<bool>,
    /// Directories with one directory per `host[:port]`, holding `*.crt` (authorities), `*.cert` + `*.key` (client
    /// certificate): `/etc/containers/certs.d`, `/etc/docker/certs.d`, …
    pub certs_dirs: Vec<PathBuf>,
    /// One such directory for whatever host is asked (`--cert-dir`).
    pub cert_dir: Option<PathBuf>,
}

/// The way out of a closed network.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// `$HTTP_PROXY`.
    pub http: Option<String>,
    /// `$HTTPS_PROXY`.
    pub https: Option<String>,
    /// `$NO_PROXY`: comma-separated hosts, domains (`.example.org`), addresses, networks (`10.0.0.0/8`), or `*`.
    pub no_proxy: Option<String>,
}

impl ProxySettings {
    /// Whether `no_proxy` names the host.
    pub(crate) fn exempts(&self, host: &str, port: u16) -> bool {
        let Some(list) = &self.no_proxy else { return false };
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            if entry == "*" || in_network(host, entry) {
                return true;
            }
            if let (Some(one), Some(other)) = (address(entry), address(host)) {
                return one == other;
            }
            let (name, only) = match entry.rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
                _ => (entry, None),
            };
            let domain = name.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
            let same = host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
            same && only.is_none_or(|only| only == port)
        })
    }
}

/// `10.1.2.3`, `fd00::1`, `[fd00::1]`
fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a host is an address in a network such as `10.0.0.0/8`. Names are not looked up.
fn in_network(host: &str, network: &str) -> bool {
    let Some((first, bits)) = network.split_once('/') else { return false };
    let (Some(first), Some(host), Ok(bits)) = (address(first), address(host), bits.parse::<u32>()) else {
        return false;
    };
    match (first, host) {
        (IpAddr::V4(first), IpAddr::V4(host)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            first.to_bits() & mask == host.to_bits() & mask
        }
        (IpAddr::V6(first), IpAddr::V6(host)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            first.to_bits() & mask == host.to_bits() & mask
        }
        _ => false,
    }
}

/// How long to wait, how often to try.
#[derive(Clone, Debug)]
pub struct Patience {
    /// To get a connection, TLS included.
    pub connect: Duration,
    /// From the request sent to the answer's headers.
    pub answer: Duration,
    /// A body that brings fewer than `stall_bytes` in this time is given up and asked for again.
    pub stall: Duration,
    /// See `stall`.
    pub stall_bytes: u64,
    /// Tries of one request, the first included; a body that made progress starts to count anew.
    pub attempts: u32,
    /// Pause before the second try; doubles from there.
    pub backoff: Duration,
    /// Longest single pause, also against `Retry-After`; and the sum of all pauses of one request.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            stall_bytes: 1024,
            attempts: 5,
            backoff: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// A lock whose data stays usable when a thread died holding it: everything behind these locks is a cache.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_domains_and_ports() {
        let exempts = |list: &str, host: &str| {
            ProxySettings { no_proxy: Some(list.to_owned()), ..Default::default() }.exempts(host, 443)
        };
        assert!(exempts("a.example, .corp.example", "x.corp.example"));
        assert!(exempts("corp.example", "x.corp.example"));
        assert!(exempts("*", "anything"));
        assert!(exempts("a.example:443", "a.example"));
        assert!(!exempts("a.example:80", "a.example"));
        assert!(!exempts("a.example", "ba.example"));
        assert!(!exempts("", "a.example"));
    }

    #[test]
    fn no_proxy_names_addresses_and_networks() {
        let exempts = |list: &str, host: &str| {
            ProxySettings { no_proxy: Some(list.to_owned()), ..Default::default() }.exempts(host, 443)
        };
        for (list, host, expected) in [
            ("10.0.0.0/8", "10.200.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("192.0.2.0/33", "192.0.2.1", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "10.0.0.1", false),
            ("[fd00::1]", "fd00::1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.10", false),
            ("10.0.0.1:443", "10.0.0.1", true),
            ("10.0.0.0/8", "a.example", false),
        ] {
            assert_eq!(exempts(list, host), expected, "{list} {host}");
        }
    }

    #[test]
    fn a_login_does_not_print_its_secret() {
        let login = Login::Basic { user: "me".to_owned(), password: "hunter2".to_owned() };
        assert!(
            !format!("{login:?} {:?}", Login::Bearer { token: "hunter2".to_owned() }).contains("hunter2")
        );
    }
}
