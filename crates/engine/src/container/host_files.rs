// SPDX-License-Identifier: Apache-2.0
//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: files of its own in its directory, bound over
//! whatever the image has there.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Network;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// `--add-host name:address`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it resolves to.
    pub address: IpAddr,
}

/// Writes the three files into `directory`; returns them with their places in the container.
pub fn write(
    directory: &Path,
    hostname: &str,
    network: Network,
    extra: &[ExtraHost],
) -> Result<[(PathBuf, &'static str); 3]> {
    check_hostname(hostname)?;
    fs::create_dir_all(directory).wrap(|| format!("make {}", directory.display()))?;
    let resolver = match network {
        // Nobody can be asked in a namespace with a loopback interface alone.
        Network::None => "# no network: see conex run --network\n".to_owned(),
        Network::Host => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    let files = [
        ("hosts", hosts(hostname, network, extra), "/etc/hosts"),
        ("hostname", format!("{hostname}\n"), "/etc/hostname"),
        ("resolv.conf", resolver, "/etc/resolv.conf"),
    ];
    let mut placed = Vec::with_capacity(files.len());
    for (name, text, target) in files {
        let path = directory.join(name);
        fs::write(&path, text).wrap(|| format!("write {}", path.display()))?;
        placed.push((path, target));
    }
    Ok(placed.try_into().expect("as many as there were files"))
}

fn hosts(hostname: &str, network: Network, extra: &[ExtraHost]) -> String {
    let mut text = match network {
        Network::None => {
            format!("127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n")
        }
        Network::Host => {
            let host = fs::read_to_string("/etc/hosts").unwrap_or_default();
            let known = host.split_whitespace().any(|word| word == hostname);
            let own = if known { String::new() } else { format!("127.0.1.1 {hostname}\n") };
            format!("{}\n{own}", host.trim_end())
        }
    };
    for ExtraHost { name, address } in extra {
        text.push_str(&format!("{address} {name}\n"));
    }
    text
}

/// A name that is one word on one line, whatever else it may be.
pub(super) fn check_hostname(name: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::new(ErrorKind::Usage, format!("host name {shown:?} is not allowed"))
        .with_hint("a host name has up to 64 of the characters a-z A-Z 0-9 - . _"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_cannot_add_lines() {
        for name in ["", "a b", "web\n1.2.3.4 example.org", "x\t", &"a".repeat(65)] {
            assert!(check_hostname(name).is_err(), "{name:?}");
        }
        check_hostname("web-1.example_org").unwrap();
    }

    #[test]
    fn the_container_finds_itself_on_loopback() {
        let extra = [ExtraHost { name: "db".to_owned(), address: "10.0.0.2".parse().unwrap() }];
        let text = hosts("web", Network::None, &extra);
        assert!(text.starts_with("127.0.0.1 localhost web\n") && text.ends_with("10.0.0.2 db\n"), "{text}");
    }
}
