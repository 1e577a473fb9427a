// SPDX-License-Identifier: Apache-2.0
//! Copies an image from an OCI layout into a store, in few lines: `copy LAYOUT[:REFERENCE] STORE NAME`.
//!
//! Says how many bytes it fetched and how many were there. Tests kill it at every point.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conex_image::layout::{LayoutName, LayoutSource};
use conex_image::store::{Store, StoreSink};
use conex_image::transfer::{CopyOptions, Progress, copy};
use conex_spec::image::Descriptor;

#[derive(Default)]
struct Counter {
    fetched: AtomicU64,
    there: AtomicU64,
}

impl Progress for Counter {
    fn begin(&self, _: &Descriptor, done: u64) {
        self.there.fetch_add(done, Ordering::Relaxed);
    }

    fn advance(&self, _: &Descriptor, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, store, name] = &arguments[..] else {
        return Err("usage: copy LAYOUT[:REFERENCE] STORE NAME".to_owned());
    };
    let run = || {
        let source = LayoutSource::open(&LayoutName::parse(layout)?)?;
        let store = Arc::new(Store::open(Path::new(store))?);
        let counter = Counter::default();
        let sink = StoreSink::new(store, name.as_str())?;
        let options = CopyOptions { jobs: 1, ..CopyOptions::default() };
        let image = copy(&source, &sink, &options, &counter)?;
        let (fetched, there) = (counter.fetched.into_inner(), counter.there.into_inner());
        writeln!(std::io::stdout(), "{} fetched {fetched} there {there}", image.digest)?;
        Ok(())
    };
    run().map_err(|error: conex_image::Error| error.to_string())
}
