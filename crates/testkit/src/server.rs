// SPDX-License-Identifier: Apache-2.0
//! Registries on loopback: Debian's docker-registry as the peer, and conex's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::require::{Requirement, program};
use crate::run::{Background, Run, poll};
use crate::sandbox::Sandbox;

/// An htpasswd file: the user `me`, whose password is `secret`.
pub const HTPASSWD: &str = "me:$2b$04$eX.mt2Fbb5yDa/JzegAX/.HM/6Cz00vpI/jEzXOV5a5WRwLFuoPdS\n";

/// A registry that runs as long as this value lives.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    process: Background,
}

impl Registry {
    /// Debian's docker-registry, empty, without TLS or authentication.
    pub fn debian(sandbox: &Sandbox) -> Requirement<Self> {
        Self::debian_with(sandbox, "")
    }

    /// The same, with more lines of configuration.
    pub fn debian_with(sandbox: &Sandbox, more: &str) -> Requirement<Self> {
        let program = program("docker-registry")?;
        let address = free_address();
        let storage = sandbox.path(format!("docker-registry-{}", address.port()));
        let config = storage.with_extension("yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: \"{address}\"}}\n{more}",
            storage.display()
        );
        fs::write(&config, text).map_err(|error| error.to_string())?;
        let process = sandbox.command(program).arg("serve").arg(&config).background();
        Ok(Self::ready(process, address))
    }

    /// `conex registry serve`, over a store of its own.
    pub fn conex(sandbox: &Sandbox) -> Self {
        Self::conex_with(sandbox, &[])
    }

    /// The same, with more options.
    pub fn conex_with(sandbox: &Sandbox, more: &[&str]) -> Self {
        let address = free_address();
        let store = sandbox.path(format!("registry-{}", address.port()));
        let mut command = sandbox.command(sandbox.programs().join("conex"));
        command
            .arg("--root")
            .arg(store)
            .args(["registry", "serve", "--listen", &address.to_string()])
            .args(more);
        Self::ready(command.background(), address)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    #[track_caller]
    fn ready(mut process: Background, address: SocketAddr) -> Self {
        let answered = poll(Duration::from_secs(20), || {
            if process.wait(Duration::ZERO).is_some() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        assert!(
            answered == Some(true),
            "{} does not answer at {address}:\n{}",
            process.command,
            process.output()
        );
        Self { address: address.to_string(), process }
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// A loopback address that nobody listened on a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind to loopback");
    listener.local_addr().expect("the address of a bound socket")
}
