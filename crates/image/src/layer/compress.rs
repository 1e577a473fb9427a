// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#gzip-media-types, #zstd-media-types
//!
//! How a layer's tar is stored. The first bytes decide, not the media type: registries hold layers that are called
//! gzip and are not. Several gzip members or zstd frames, skippable ones between them (`zstd:chunked`), are one
//! stream.

use std::io::{self, BufRead, Read, Write};

use conex_spec::image::media_type::Compression;
use flate2::bufread::MultiGzDecoder;

use crate::Result;

/// The binary logarithm of the largest window that a zstd frame may ask for: 32 MiB. RFC 8878 §3.1.1.1.2 asks for 8 MiB
/// of every decoder; the level 22 of zstd(1) takes 128, and with it memory that a hostile layer must not have.
const MAX_WINDOW: u32 = 25;

/// Bytes to look at before it is clear what they are.
const MAGIC: usize = 4;

/// Tells by the first four bytes.
pub fn sniff(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or a skippable frame.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The uncompressed bytes of `input`, whatever it is.
pub fn decoder<'a>(mut input: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let mut first = Vec::with_capacity(MAGIC);
    (&mut input).take(MAGIC as u64).read_to_end(&mut first)?;
    let kind = sniff(&first);
    let whole = io::Cursor::new(first).chain(input);
    Ok(match kind {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            let mut frames = zstd::stream::read::Decoder::with_buffer(whole)?;
            frames.window_log_max(MAX_WINDOW)?;
            Box::new(frames)
        }
    })
}

/// Compresses what is written to it; [`Encoder::finish`] ends the stream.
pub enum Encoder<W: Write> {
    /// As it is.
    None(W),
    /// One gzip member, without name and time: the same bytes in give the same bytes out.
    Gzip(flate2::write::GzEncoder<W>),
    /// One zstd frame.
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Compresses at the usual level of each format (6 and 3).
    pub fn new(output: W, compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(output),
            Compression::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(output, flate2::Compression::new(6)))
            }
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(output, 3)?),
        })
    }

    /// Ends the stream, and gives back what it was written to.
    pub fn finish(self) -> Result<W> {
        Ok(match self {
            Self::None(output) => output,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        })
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None(_) => "Encoder::None",
            Self::Gzip(_) => "Encoder::Gzip",
            Self::Zstd(_) => "Encoder::Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(bytes).map_err(|e| io::Error::other(e.to_string()))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_format_round_trips_and_concatenates() {
        for kind in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let two = [packed(b"hello ", kind), packed(b"world", kind)].concat();
            assert_eq!(unpacked(&two).unwrap(), b"hello world", "{kind:?}");
        }
        assert_eq!(unpacked(b"").unwrap(), b"");
        assert_eq!(unpacked(b"abc").unwrap(), b"abc");
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let frame = packed(b"data", Compression::Zstd);
        assert_eq!(
            unpacked(&[skip.clone(), frame.clone(), skip.clone(), frame, skip].concat()).unwrap(),
            b"datadata"
        );
    }

    #[test]
    fn windows_that_take_too_much_memory_are_refused() {
        let frame = |window| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(window).unwrap();
            encoder.write_all(b"data").unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(unpacked(&frame(MAX_WINDOW)).unwrap(), b"data");
        assert!(unpacked(&frame(MAX_WINDOW + 1)).is_err());
    }

    #[test]
    fn cut_or_damaged_streams_are_errors() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let mut whole = packed(&[7; 100_000], kind);
            assert!(unpacked(&whole[..whole.len() - 3]).is_err(), "{kind:?} cut");
            let last = whole.len() - 5;
            whole[last] ^= 0x40;
            assert!(kind == Compression::Zstd || unpacked(&whole).is_err(), "{kind:?} damaged");
        }
        assert!(unpacked(&[packed(b"x", Compression::Gzip), b"garbage".to_vec()].concat()).is_err());
    }
}
