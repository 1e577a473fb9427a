// SPDX-License-Identifier: Apache-2.0
//! What goes over the two pipes: frames of a length (u32, little-endian) and so many bytes.
//!
//! ```text
//!  to the worker:    Job   { size (u64)  stored bytes …  "" }…  end of file
//!  from the worker:  Answer::Applied …  "=" description …  Answer::Finished
//!                    or Answer::Failed, and nothing after it
//! ```

use std::io::{self, Read, Write};
use std::path::PathBuf;

use conex_spec::DiffId;
use serde::{Deserialize, Serialize};

use crate::layer::apply::{Applied, Options};
use crate::{Error, ErrorKind, Result};

/// No frame is longer.
pub(super) const MAX: usize = 1 << 20;
/// What a frame with a part of the description begins with. The others are JSON.
pub(super) const DESCRIPTION: u8 = b'=';

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) tree: PathBuf,
    pub(super) below: Option<Vec<PathBuf>>,
    pub(super) options: Options,
}

/// What has come of a layer, or of it all.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Applied { diff_id: DiffId, applied: Applied },
    Finished,
    Failed { kind: ErrorKind, message: String, hint: Option<String> },
}

impl Answer {
    pub(super) fn failed(error: &Error) -> Self {
        Self::Failed { kind: error.kind(), message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

pub(super) fn send(out: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(payload)
}

pub(super) fn send_json(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(send(out, &bytes)?)
}

/// The length of the next frame; `None` at the end, if that is where one may begin.
pub(super) fn next(input: &mut impl Read) -> Result<Option<usize>> {
    let mut length = [0; 4];
    if input.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX {
        return Err(super::confused("a message without end"));
    }
    Ok(Some(length))
}

/// The next frame as a whole.
pub(super) fn receive(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let Some(length) = next(input)? else { return Ok(None) };
    let mut payload = vec![0; length];
    input.read_exact(&mut payload)?;
    Ok(Some(payload))
}

pub(super) fn parse<T: for<'a> Deserialize<'a>>(payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|error| super::confused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_through() {
        let mut wire = Vec::new();
        send(&mut wire, b"one").unwrap();
        send(&mut wire, b"").unwrap();
        send_json(&mut wire, &Answer::failed(&Error::invalid("no").with_hint("so"))).unwrap();
        let mut input = wire.as_slice();
        assert_eq!(receive(&mut input).unwrap().unwrap(), b"one");
        assert_eq!(receive(&mut input).unwrap().unwrap(), b"");
        let answer: Answer = parse(&receive(&mut input).unwrap().unwrap()).unwrap();
        assert!(matches!(answer, Answer::Failed { kind: ErrorKind::Invalid, .. }), "{answer:?}");
        assert!(receive(&mut input).unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_or_cut_is_an_error() {
        assert!(receive(&mut &u32::MAX.to_le_bytes()[..]).is_err());
        assert!(receive(&mut &[3, 0, 0, 0, 1][..]).is_err());
        assert!(receive(&mut &[3, 0][..]).is_err());
    }
}
