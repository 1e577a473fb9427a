// SPDX-License-Identifier: Apache-2.0
//! A layer out of an archive that is there already, byte for byte.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use conex_spec::image::media_type::Compression;

use super::{Draft, LayerWriter, NewLayer};
use crate::layer::compress::decoder;
use crate::layer::tar::Reader;
use crate::layout::Layout;
use crate::{Error, ErrorKind, Result, Wrap, host};

/// Stores the archive at `path` as a layer of `draft`: uncompressed or by gzip or zstd. It must be a tar that can be
/// unpacked.
pub fn append_archive(
    draft: &Draft,
    layout: &Layout,
    path: &Path,
    compression: Compression,
) -> Result<NewLayer> {
    let store = || {
        let file = host::open_file(path)?;
        if !file.metadata()?.is_file() {
            return Err(Error::new(ErrorKind::Usage, "is no regular file"));
        }
        let archive = decoder(BufReader::with_capacity(128 << 10, file))?;
        let mut tee = Tee { input: archive, output: draft.new_layer(layout, compression)? };
        read_through(&mut tee)?;
        tee.output.finish()
    };
    store().wrap(|| path.display().to_string())
}

/// Reads every member, and what is behind the archive's end.
fn read_through(archive: &mut impl Read) -> Result<()> {
    let mut archive = BufReader::with_capacity(128 << 10, archive);
    let mut reader = Reader::new(&mut archive);
    while reader.next_entry()?.is_some() {}
    io::copy(&mut archive, &mut io::sink())?;
    Ok(())
}

/// Writes what is read.
struct Tee<'a, R> {
    input: R,
    output: LayerWriter<'a>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        self.output.write_all(&buffer[..len])?;
        Ok(len)
    }
}
