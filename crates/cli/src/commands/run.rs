// SPDX-License-Identifier: Apache-2.0
//! `conex run`

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;

use conex_engine::container::attach::{Attachment, Ending, Streams};
use conex_engine::container::{self, Attach, Container, Exit, Force, Record};
use conex_engine::terminal::Raw;
use conex_engine::{Engine, ErrorKind};

use super::container_args::ContainerArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Make a container from an image and run it
///
/// The image is pulled if the store has none of that name. What stands behind the image's name goes to the container:
/// a program in place of the image's, and its arguments. Its network is a loopback interface alone unless --network
/// host says otherwise.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex run --rm alpine echo hello           one program, gone afterwards
  conex run --rm -it alpine                  a shell; ctrl-p ctrl-q leaves it running
  conex run -d --name web -v ./site:/www:ro httpd
  conex run --rm -e DB=db.svc -u 1001 -w /tmp alpine env
  conex run --rm --network host alpine wget -qO- localhost:8080
Exit codes: the program's own (128 + n after signal n); 127 where it is missing, 126 where it cannot be executed,
125 where conex failed.")]
pub(crate) struct Args {
    /// Print its id and leave it running
    #[arg(short, long)]
    detach: bool,
    /// Remove it when it has ended
    #[arg(long)]
    rm: bool,
    /// What ends the connection and leaves the container running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: String,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    container: ContainerArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let keys = detach_keys(&args.detach_keys)?;
    let context = || format!("run {}", args.container.image());
    if args.container.terminal()
        && args.container.interactive()
        && !args.detach
        && !std::io::stdin().is_terminal()
    {
        return Err(CommandError::usage("run -it: stdin is not a terminal")
            .with_hint("leave out -t where no person types, for example in scripts: conex run -i …"));
    }
    let engine = args.container.engine(session)?;
    session.enter_user_namespace()?;
    session.sweep(&engine)?;
    let mut options = args.container.options(session, &engine, args.quiet).context(context)?;
    options.auto_remove = args.rm;
    claim_cidfile(args.container.cidfile.as_deref())?;
    let attach = if args.detach { Attach::No } else { Attach::Yes };
    let (container, record, attachment) = container::run(&engine, &options, attach).context(context)?;
    write_cidfile(args.container.cidfile.as_deref(), &container)?;
    match attachment {
        None => output::print_line(&container.id).map(|()| 0),
        Some(attachment) => follow(&engine, &container, &record, attachment, keys).context(context),
    }
}

/// Is the container's terminal until it ends, and cleans up behind it.
pub(crate) fn follow(
    engine: &Engine,
    container: &Container,
    record: &Record,
    attachment: Attachment,
    detach_keys: Vec<u8>,
) -> CommandResult {
    let stdin = std::io::stdin();
    let duplicate = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().context(|| "duplicate stdin");
    let terminal = record.terminal && stdin.is_terminal();
    let streams = Streams {
        input: record.stdin.then(|| duplicate(stdin.as_fd())).transpose()?,
        terminal: terminal.then(|| duplicate(stdin.as_fd())).transpose()?,
        detach_keys: if terminal { detach_keys } else { Vec::new() },
    };
    let raw = (terminal && record.stdin).then(|| Raw::new(stdin.as_fd())).transpose();
    let raw = raw.map_err(|error| CommandError::tool(error.to_string()))?;
    let ending = attachment.run(engine, record, streams, &mut std::io::stdout(), &mut std::io::stderr())?;
    drop(raw);
    match ending {
        Ending::Detached => return Ok(0),
        Ending::Unread => unless_gone(container::kill(engine, container, SIGKILL))?,
        // What the kernel tells a program whose terminal is closed. One that goes on may.
        Ending::HungUp => unless_gone(container::kill(engine, container, SIGHUP))?,
        Ending::Exited(_) | Ending::Lost => {}
    }
    // Another command may be clearing up behind the container at the same time.
    let exit = unless_gone(container::wait(engine, container))?;
    if record.auto_remove {
        if exit.is_none() {
            unless_gone(container.end(engine, Force::Yes))?;
        }
        unless_gone(container::remove(engine, container))?;
    }
    match (ending, exit) {
        (Ending::Exited(code), _) | (_, Some(Exit { code, .. })) => Ok(code),
        _ => {
            let message = format!("how container {} ended is not known: its monitor was killed", record.name);
            Err(CommandError::tool(message))
        }
    }
}

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;

/// What is gone has ended and is removed.
fn unless_gone<T: Default>(result: Result<T, conex_engine::Error>) -> Result<T, conex_engine::Error> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::State) => Ok(T::default()),
        result => result,
    }
}

/// `ctrl-p,ctrl-q` → the bytes; empty: there are none.
fn detach_keys(text: &str) -> Result<Vec<u8>, CommandError> {
    let key = |word: &str| match word.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Some(letter & 0x1f),
        None => <[u8; 1]>::try_from(word.as_bytes()).ok().map(|[byte]| byte),
        Some(_) => None,
    };
    text.split(',').filter(|word| !word.is_empty()).map(key).collect::<Option<_>>().ok_or_else(|| {
        CommandError::usage(format!(
            "--detach-keys {text:?}: expected letters and ctrl-LETTERs with commas between"
        ))
    })
}

/// The file must not be there: two containers would fight over it.
pub(crate) fn claim_cidfile(path: Option<&std::path::Path>) -> Result<(), CommandError> {
    match path {
        Some(path) if path.exists() => {
            Err(CommandError::tool(format!("--cidfile {}: exists already", path.display()))
                .with_hint("remove it once its container is gone"))
        }
        _ => Ok(()),
    }
}

/// Writes the id without a line's end, as the peers do.
pub(crate) fn write_cidfile(
    path: Option<&std::path::Path>,
    container: &Container,
) -> Result<(), CommandError> {
    path.map_or(Ok(()), |path| std::fs::write(path, &container.id).context(|| path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_bytes() {
        assert_eq!(detach_keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(detach_keys("ctrl-],x").unwrap(), [29, b'x']);
        assert!(detach_keys("").unwrap().is_empty());
        assert!(detach_keys("ctrl-pp").is_err() && detach_keys("alt-x").is_err());
    }
}
