// SPDX-License-Identifier: Apache-2.0
//! Forgets every name of a store and removes what they led to: `gc STORE`. Tests kill it at every point.

use std::io::Write;
use std::path::Path;

use conex_image::store::Store;

fn main() -> Result<(), String> {
    let store = std::env::args().nth(1).ok_or("usage: gc STORE")?;
    let run = || {
        let store = Store::open_existing(Path::new(&store))?;
        for image in store.images()? {
            store.untag(&image.name)?;
        }
        let report = store.gc(&[])?;
        writeln!(std::io::stdout(), "{report:?}")?;
        Ok(())
    };
    run().map_err(|error: conex_image::Error| error.to_string())
}
