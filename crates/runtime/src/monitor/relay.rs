// SPDX-License-Identifier: Apache-2.0
//! The poll loop: output to the log and to every client, input from clients to the container, children reaped.
//!
//! Memory is bounded by asking for less: a client that is behind stops the reading of output, and input that the
//! container does not take stops the reading of clients.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use conex_sys::poll::{Events, poll};
use conex_sys::process::{self, Exit};
use conex_sys::signal::SignalFd;
use conex_sys::tty;

use super::Arguments;
use super::client::{Client, EXIT, Word};
use super::log::Log;
use super::runtime::Created;
use super::streams::{Chunk, ConsoleSocket, Input, Output, Stream, Streams, listen};
use crate::{Result, Wrap};

/// More clients than anybody has; the next ones wait in the kernel's queue.
const MOST_CLIENTS: usize = 32;
/// Enough of a failing runtime's words.
const MOST_WORDS: usize = 16 * 1024;
/// How long a client may take to read the end.
const GOODBYE: Duration = Duration::from_secs(5);
/// Ctrl-D: the end of input, typed.
const END_OF_TRANSMISSION: u8 = 4;

/// Everything that the loop looks after.
pub(super) struct Relay {
    signals: SignalFd,
    log: Log,
    listener: Option<UnixListener>,
    clients: Vec<Client>,
    outputs: Vec<Output>,
    input: Option<Input>,
    console: Option<ConsoleSocket>,
    /// The pty's master.
    terminal: Option<File>,
    takes_input: bool,
    for_runtime: Option<[Stdio; 3]>,
    /// What a runtime that fails has said: the end of its standard error.
    words: Vec<u8>,
    /// Children that have ended.
    ended: Vec<(i32, Exit)>,
    /// The only child whose end matters, once it is known: the container's first process.
    awaited: Option<i32>,
}

/// Whose descriptor a place in the poll list is.
enum Place {
    Signals,
    Listener,
    Console,
    Output(usize),
    Input,
    Client(usize),
}

impl Relay {
    pub(super) fn new(arguments: &Arguments, signals: SignalFd) -> Result<Self> {
        let streams = if arguments.terminal {
            Streams::terminal(&arguments.pid_file)?
        } else {
            Streams::pipes(arguments.stdin)?
        };
        let listener = arguments.attach_socket.as_ref().map(|path| listen(Path::new(path))).transpose()?;
        Ok(Self {
            signals,
            log: Log::open(&arguments.log)?,
            listener,
            clients: Vec::new(),
            outputs: streams.outputs,
            input: streams.input,
            console: streams.console,
            terminal: None,
            takes_input: arguments.stdin,
            for_runtime: Some(streams.for_runtime),
            words: Vec::new(),
            ended: Vec::new(),
            awaited: None,
        })
    }

    pub(super) fn console_socket(&self) -> Option<PathBuf> {
        self.console.as_ref().map(|console| console.path.clone())
    }

    /// Once: they are moved into the command, and closed with it.
    pub(super) fn ends_for_runtime(&mut self) -> [Stdio; 3] {
        self.for_runtime.take().unwrap_or_else(|| [Stdio::null(), Stdio::null(), Stdio::null()])
    }

    /// What the runtime said before it failed.
    pub(super) fn last_words(&mut self) -> String {
        self.drain();
        String::from_utf8_lossy(&self.words).into_owned()
    }

    /// How a child ended, if it has.
    pub(super) fn ended(&self, pid: i32) -> Option<Exit> {
        self.ended.iter().find(|(ended, _)| *ended == pid).map(|(_, exit)| *exit)
    }

    /// Until the container's first process has ended.
    pub(super) fn run(&mut self, created: &Created) -> Result<Exit> {
        // The list of the ended must not grow with the container's orphans.
        self.awaited = Some(created.pid);
        self.ended.clear();
        self.words = Vec::new();
        match created.exit {
            Some(exit) => Ok(exit),
            None => self.run_until(created.pid),
        }
    }

    /// Until a child has ended.
    pub(super) fn run_until(&mut self, pid: i32) -> Result<Exit> {
        loop {
            if let Some(exit) = self.ended(pid) {
                return Ok(exit);
            }
            self.turn()?;
        }
    }

    /// What is left in the pipes. Another process may hold their other ends, so this does not wait for their end.
    pub(super) fn drain(&mut self) {
        for _ in 0..64 {
            let before = self.outputs.len();
            let moved = (0..before).rev().filter(|index| self.move_output(*index)).count();
            if moved == 0 && before == self.outputs.len() {
                break;
            }
        }
    }

    /// Queues the exit code for all clients, also for those who are just connecting.
    pub(super) fn tell(&mut self, exit: Exit) {
        self.accept();
        self.listener = None;
        for client in &mut self.clients {
            client.send(EXIT, exit.code().to_string().as_bytes());
        }
        self.clients.retain_mut(Client::flush);
    }

    /// Gives clients the time to read to the end.
    pub(super) fn say_goodbye(&mut self) {
        let deadline = Instant::now() + GOODBYE;
        loop {
            self.clients.retain_mut(|client| client.flush() && client.has_outgoing());
            let left = deadline.saturating_duration_since(Instant::now());
            if self.clients.is_empty() || left.is_zero() {
                return;
            }
            let asked: Vec<_> =
                self.clients.iter().map(|client| (client.socket.as_fd(), Events::OUT)).collect();
            if poll(&asked, Some(left)).is_err() {
                return;
            }
        }
    }

    /// One poll and what it brings.
    fn turn(&mut self) -> Result<()> {
        let (places, ready) = {
            let (places, asked): (Vec<_>, Vec<_>) =
                self.interests().into_iter().map(|(place, fd, events)| (place, (fd, events))).unzip();
            (places, poll(&asked, None)?)
        };
        // From the last to the first: what is taken out of a list does not move those before it.
        for (place, events) in places.into_iter().zip(ready).rev() {
            if events.is_empty() {
                continue;
            }
            match place {
                Place::Signals => self.reap()?,
                Place::Listener => self.accept(),
                Place::Console => self.take_terminal()?,
                Place::Output(index) => drop(self.move_output(index)),
                Place::Input => self.flush_input(),
                Place::Client(index) => self.serve(index, events),
            }
        }
        Ok(())
    }

    fn interests(&self) -> Vec<(Place, BorrowedFd<'_>, Events)> {
        let mut list = vec![(Place::Signals, self.signals.as_fd(), Events::IN)];
        if let Some(listener) = self.listener.as_ref().filter(|_| self.clients.len() < MOST_CLIENTS) {
            list.push((Place::Listener, listener.as_fd(), Events::IN));
        }
        if let Some(console) = &self.console {
            list.push((Place::Console, console.listener.as_fd(), Events::IN));
        }
        if !self.clients.iter().any(Client::is_behind) {
            let outputs = self.outputs.iter().enumerate();
            list.extend(
                outputs.map(|(index, output)| (Place::Output(index), output.file.as_fd(), Events::IN)),
            );
        }
        if let Some(input) = self.input.as_ref().filter(|input| input.has_pending()) {
            list.push((Place::Input, input.file.as_fd(), Events::OUT));
        }
        let listens = self.input.as_ref().is_none_or(Input::takes_more);
        for (index, client) in self.clients.iter().enumerate() {
            let mut events = Events::empty();
            events.set(Events::IN, listens && !client.is_silent);
            events.set(Events::OUT, client.has_outgoing());
            list.push((Place::Client(index), client.socket.as_fd(), events));
        }
        list
    }

    /// A subreaper also gets the container's orphans; all are taken, so that none stays a zombie.
    fn reap(&mut self) -> Result<()> {
        while self.signals.next()?.is_some() {}
        while let Some(pid) = process::ended_child()? {
            let pidfd = process::open(pid)?;
            let exit = process::wait(pidfd.as_fd())?;
            if self.awaited.is_none_or(|awaited| awaited == pid) {
                self.ended.push((pid, exit));
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Some(listener) = self.listener.as_ref().filter(|_| self.clients.len() < MOST_CLIENTS) {
            let Ok((socket, _)) = listener.accept() else { return };
            self.clients.extend(Client::new(socket));
        }
    }

    /// From here on the terminal is both input and output.
    fn take_terminal(&mut self) -> Result<()> {
        let Some(console) = self.console.take() else { return Ok(()) };
        let master = console.receive()?;
        let copy = |what| master.try_clone().wrap(|| format!("dup the terminal for {what}"));
        self.outputs.push(Output::new(copy("output")?, Stream::Stdout)?);
        if self.takes_input {
            self.input = Some(Input::new(copy("input")?)?);
        }
        self.terminal = Some(master.into());
        Ok(())
    }

    /// True if some bytes were moved. At its end an output is let go of.
    fn move_output(&mut self, index: usize) -> bool {
        let mut chunk = [0; 16 * 1024];
        let Some(output) = self.outputs.get_mut(index) else { return false };
        let stream = output.stream;
        match output.read(&mut chunk) {
            Chunk::Bytes(length) => {
                self.publish(stream, &chunk[..length]);
                true
            }
            Chunk::Nothing => false,
            Chunk::End => {
                self.outputs.remove(index);
                false
            }
        }
    }

    fn publish(&mut self, stream: Stream, bytes: &[u8]) {
        // Whoever connected before these bytes were written is to have them.
        self.accept();
        self.log.write(stream, bytes);
        if stream == Stream::Stderr {
            self.words.extend_from_slice(bytes);
            let excess = self.words.len().saturating_sub(MOST_WORDS);
            self.words.drain(..excess);
        }
        for client in &mut self.clients {
            client.send(stream as u8, bytes);
        }
        self.clients.retain_mut(Client::flush);
    }

    fn flush_input(&mut self) {
        if self.input.as_mut().is_some_and(|input| !input.flush()) {
            // Closes a pipe. A terminal lives on in its other descriptors.
            self.input = None;
        }
    }

    fn serve(&mut self, index: usize, events: Events) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let mut alive = client.flush();
        let mut words = Vec::new();
        if events.contains(Events::IN) {
            match client.receive() {
                Some(said) => words = said,
                None => alive = false,
            }
        }
        if !alive || events.intersects(Events::HUP | Events::ERR) && !events.contains(Events::IN) {
            self.clients.remove(index);
        }
        words.into_iter().for_each(|word| self.obey(word));
    }

    fn obey(&mut self, word: Word) {
        match (word, &mut self.input, &self.terminal) {
            (Word::Input(bytes), Some(input), _) => input.push(&bytes),
            (Word::EndOfInput, Some(input), Some(_)) => input.push(&[END_OF_TRANSMISSION]),
            (Word::EndOfInput, Some(input), None) => input.end(),
            (Word::Resize(size), _, Some(terminal)) => {
                // The container may have just closed it.
                tty::set_size(terminal.as_fd(), size).ok();
            }
            _ => {}
        }
        self.flush_input();
    }
}
