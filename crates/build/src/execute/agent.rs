// SPDX-License-Identifier: Apache-2.0
//! `RUN --mount=type=ssh`: a socket of the build's own, on which a command reaches the agent of whoever builds. What is
//! said goes through as it is; the agent's own socket and its directory are never in the container.

use std::fs::{self, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::containerfile::FileMode;
use crate::{Result, Wrap as _};

/// Ends with the command.
pub(super) struct Agent {
    pub(super) socket: PathBuf,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens in `directory`, which is made here, for who is to reach `agent`.
    pub(super) fn listen(directory: &Path, agent: &Path, given: FileMode) -> Result<Self> {
        fs::create_dir(directory).wrap(|| format!("make {}", directory.display()))?;
        let socket = directory.join("agent");
        let listener = bind(directory).wrap(|| format!("listen at {}", socket.display()))?;
        chown(&socket, given.uid.or(Some(0)), given.gid.or(Some(0)))
            .and_then(|()| fs::set_permissions(&socket, Permissions::from_mode(given.mode.unwrap_or(0o600))))
            .wrap(|| format!("prepare {}", socket.display()))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, agent) = (Arc::clone(&over), agent.to_owned());
        let accepting = thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // Who cannot be served finds a closed connection.
                let Ok(client) = client else { return };
                let agent = agent.clone();
                thread::spawn(move || serve(&client, &agent));
            }
        });
        Ok(Self { socket, over, accepting: Some(accepting) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Whoever waits in accept has to be told.
        let told = self.socket.parent().map(connect);
        if let (Some(Ok(_)), Some(accepting)) = (told, self.accepting.take()) {
            let _panicked = accepting.join();
        }
    }
}

/// Both ways, until one side ends.
fn serve(client: &UnixStream, agent: &Path) {
    let Ok(agent) = UnixStream::connect(agent) else { return };
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &agent));
        pass(&agent, client);
    });
}

fn pass(mut from: &UnixStream, mut to: &UnixStream) {
    // Either end may break off; both then find the end.
    let _broken = io::copy(&mut from, &mut to);
    let _closed = to.shutdown(Shutdown::Write);
}

/// A socket's address holds 108 bytes (unix(7)): the directory is named by its descriptor.
fn short<T>(directory: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = fs::File::open(directory)?;
    work(Path::new(&format!("/proc/self/fd/{}/agent", directory.as_raw_fd())))
}

fn bind(directory: &Path) -> io::Result<UnixListener> {
    short(directory, |path| UnixListener::bind(path))
}

fn connect(directory: &Path) -> io::Result<UnixStream> {
    short(directory, |path| UnixStream::connect(path))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// What stands in for an agent says everything twice.
    #[test]
    fn both_ways_and_then_over() {
        let scratch = tempfile::tempdir().unwrap();
        let own = fs::metadata(scratch.path()).unwrap();
        let directory = scratch.path().join("own");
        fs::create_dir(&directory).unwrap();
        let echo = bind(&directory).unwrap();
        let answering = thread::spawn(move || {
            let (mut client, _) = echo.accept().unwrap();
            let mut word = [0; 4];
            client.read_exact(&mut word).unwrap();
            client.write_all(&[word, word].concat()).unwrap();
        });
        let (uid, gid) =
            (std::os::unix::fs::MetadataExt::uid(&own), std::os::unix::fs::MetadataExt::gid(&own));
        let given = FileMode { uid: Some(uid), gid: Some(gid), mode: Some(0o660) };
        let place = scratch.path().join("a directory with a name that leaves no room for the 108 bytes of a socket's address, which this one has");
        let agent = Agent::listen(&place, &directory.join("agent"), given).unwrap();
        assert_eq!(fs::metadata(&agent.socket).unwrap().permissions().mode() & 0o777, 0o660);
        let mut client = connect(&place).unwrap();
        client.write_all(b"word").unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "wordword");
        answering.join().unwrap();
        drop(agent);
        connect(&place).unwrap_err();
    }
}
