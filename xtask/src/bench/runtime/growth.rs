// SPDX-License-Identifier: Apache-2.0
//! How `list` and `state` grow with the number of containers: a stopped one, and copies of its record.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Contestant, Peer, Race, contestant, is_able};
use crate::bench::table::compare;
use crate::shell;

const SIZES: [usize; 4] = [1, 100, 1000, 5000];

pub(super) fn main(race: &Race<'_>, rounds: usize) -> Result<()> {
    let id = race.bench.sandbox.id("stopped");
    let prepare = |peer: &Peer| {
        shell::run(race.command(peer, &["create", "--bundle"]).arg(&race.sleep.path).arg(&id))?;
        shell::run(&mut race.command(peer, &["kill", &id, "KILL"]))
    };
    let peers: Vec<_> = race.peers.iter().filter(|peer| is_able(peer, "list", prepare(peer))).collect();
    for size in SIZES {
        for peer in &peers {
            copy(&race.state(peer), &id, size).with_context(|| format!("{} × {}", size, peer.name))?;
        }
        let verb = |words: &'static [&'static str], with_id: bool| -> Vec<Contestant<'_>> {
            let id = id.clone();
            let rows = peers.iter().map(move |peer| {
                let (peer, id) = ((*peer).clone(), id.clone());
                contestant(peer.name, move |_| {
                    let mut command = race.command(&peer, words);
                    command.args(with_id.then_some(&id));
                    command
                })
            });
            rows.collect()
        };
        let title = |verb: &str| format!("{verb} with {size} containers ({})", race.bench.hierarchy);
        compare(&title("list"), &race.bench.bill, rounds.div_ceil(10), &verb(&["list"], false))?;
        compare(&title("state"), &race.bench.bill, rounds.div_ceil(3), &verb(&["state"], true))?;
    }
    for peer in peers {
        shell::run(&mut race.command(peer, &["delete", "--force", &id]))?;
        fs::remove_dir_all(race.state(peer))?;
    }
    Ok(())
}

/// Makes copies of a container's directory, with other ids in its files, until there are `size`.
fn copy(root: &Path, id: &str, size: usize) -> Result<()> {
    let original = root.join(id);
    for number in 1..size {
        let other = format!("{id}-{number}");
        let directory = root.join(&other);
        if directory.exists() {
            continue;
        }
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&original)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let text = fs::read_to_string(entry.path())?.replace(id, &other);
                fs::write(directory.join(entry.file_name()), text)?;
            }
        }
    }
    Ok(())
}
