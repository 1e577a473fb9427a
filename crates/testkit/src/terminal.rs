// SPDX-License-Identifier: Apache-2.0
//! A program on a pseudo terminal: typed at, read and resized as by a person at its window.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::run::LIMIT;

/// See the module.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Starts the program as the leader of a session on a new terminal of so many rows and columns.
    pub fn start(command: &Command, size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock the terminal");
        let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("an ASCII name");
        let slave = File::options().read(true).write(true).open(name).expect("open the terminal");
        let master = File::from(master);
        set_size(&master, size);
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        session.env("TERM", "dumb");
        if let Some(directory) = command.get_current_dir() {
            session.current_dir(directory);
        }
        session.stdin(slave.try_clone().expect("dup")).stdout(slave.try_clone().expect("dup")).stderr(slave);
        let child = session.spawn().expect("start setsid");
        Self { master, child, seen: String::new() }
    }

    /// Another size of the window, as (rows, columns); the kernel signals it.
    pub fn resize(&self, size: (u16, u16)) {
        set_size(&self.master, size);
    }

    /// Keys.
    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("write to the terminal");
    }

    /// Reads until a text has come, and forgets everything up to its end.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let more = Instant::now() < end && self.read_some();
            assert!(more, "expected {text:?} on the terminal, got {:?}", self.seen);
        }
    }

    /// The program's exit code.
    pub fn wait(mut self) -> i32 {
        // Nobody may block on a full terminal.
        while self.read_some() {}
        self.child.wait().expect("a child of ours can be waited for").code().expect("setsid exits")
    }

    /// Whether more may come.
    fn read_some(&mut self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        let limit = Timespec::try_from(Duration::from_secs(60)).expect("a minute");
        if poll(&mut fds, Some(&limit)).expect("poll") == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        // EIO: everybody has closed the other side.
        let Ok(count @ 1..) = self.master.read(&mut bytes) else { return false };
        self.seen += &String::from_utf8_lossy(&bytes[..count]);
        true
    }
}

/// Says the size of its terminal whenever that is another, until it is the last one of these.
const SIZES: &str = "tty; until [ \"$now\" = '44 111' ]; do now=$(stty size); \
                     [ \"$now\" = \"$last\" ] || echo \"size $now\"; last=$now; sleep 0.05; done; \
                     echo end; read word; echo got $word; exit 6";

/// Runs a script in a container, by a command that only lacks it, on a window that changes its size meanwhile; panics
/// unless the container learns of it, hears what is typed, and tells its exit code.
#[track_caller]
pub fn check_terminal_of(command: &mut Command) {
    let mut terminal = Terminal::start(command.args(["sh", "-c", SIZES]), (33, 101));
    terminal.expect("/dev/pts/0");
    terminal.expect("size 33 101");
    terminal.resize((44, 111));
    terminal.expect("size 44 111");
    terminal.expect("end");
    terminal.type_in("word\r");
    terminal.expect("got word");
    assert_eq!(terminal.wait(), 6);
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn set_size(master: &File, (ws_row, ws_col): (u16, u16)) {
    let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("resize the terminal");
}
