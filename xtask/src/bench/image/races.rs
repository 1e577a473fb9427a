// SPDX-License-Identifier: Apache-2.0
//! Who does what in each race. conex is always the first: the ratios are to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use conex_testkit::Run;
use conex_testkit::server::Registry;

use super::places::{Places, name, source};
use crate::bench::sample::Contestant;

/// Each layer by itself, in the image's order.
const LAYERS: &str = "layers() { M=$(jq -r '.manifests[0].digest' \"$L/index.json\"); \
    for digest in $(jq -r '.layers[].digest' \"$L/blobs/sha256/${M#sha256:}\"); do echo \"$L/blobs/sha256/${digest#sha256:}\"; done; }; \
    plain() { case $(head -c 2 \"$1\" | od -An -tx1 | tr -d ' ') in 1f8b) gzip -dc \"$1\";; *) zstd -qdc \"$1\";; esac; }; mkdir \"$D\"; ";

/// `bundle unpack` of an OCI layout.
pub fn unpack<'a>(places: &'a Places<'a>, layout: &'a Path) -> Vec<Contestant<'a>> {
    let floor = |places: &'a Places<'a>, title, line: &'static str| {
        places.contestant(title, move |place, _| {
            let mut command = places.shell(place, &format!("{LAYERS}{line}"));
            command.env("L", layout);
            command
        })
    };
    vec![
        places.contestant("conex bundle unpack", |place, _| {
            let mut command = places.conex(&place.with_extension("store"));
            command.args(["bundle", "unpack", "--image"]).arg(source(layout)).arg(place);
            command
        }),
        places.contestant("umoci unpack", |place, _| {
            let mut command = places.peer("umoci");
            command.args(["unpack", "--image"]).arg(source(layout).trim_start_matches("oci:")).arg(place);
            command
        }),
        floor(
            places,
            "floor: decompress into tar x, one layer after the other",
            "for blob in $(layers); do plain \"$blob\" | tar xf - -C \"$D\" --exclude='*.wh.*'; done",
        ),
        floor(
            places,
            "floor: decompress, openssl sha256 twice",
            "for blob in $(layers); do openssl dgst -sha256 \"$blob\"; plain \"$blob\" | openssl dgst -sha256; done",
        ),
    ]
}

/// A registry's image, ready to run.
pub fn bundle<'a>(places: &'a Places<'a>, registry: &Registry) -> Vec<Contestant<'a>> {
    let image = name(registry);
    let with_image = move |command: &mut std::process::Command| {
        command.env("IMAGE", &image);
    };
    let with_image = Rc::new(with_image);
    let image = name(registry);
    let engine = |title, line: &'static str| {
        let with_image = Rc::clone(&with_image);
        places.contestant(title, move |place, _| {
            let mut command = places.shell(place, line);
            with_image(&mut command);
            command
        })
    };
    let pulled = image.clone();
    vec![
        places.contestant("conex bundle unpack docker://", move |place, _| {
            let mut command = places.conex(&place.with_extension("store"));
            command.args(["bundle", "unpack", "--image", &format!("docker://{image}")]).arg(place);
            command
        }),
        places.contestant("conex pull", move |place, _| {
            let mut command = places.conex(place);
            command.args(["pull", "--quiet", &pulled]);
            command
        }),
        engine(
            "skopeo copy + umoci unpack",
            "mkdir \"$D\"; skopeo copy --insecure-policy --quiet --src-tls-verify=false \"docker://$IMAGE\" \"oci:$D/layout:x\"; \
             umoci unpack --image \"$D/layout:x\" \"$D/bundle\"",
        ),
        engine(
            "podman pull",
            "podman --root \"$D/root\" --runroot \"$D/run\" --tmpdir \"$D/tmp\" --cgroup-manager cgroupfs --events-backend file \
             --storage-driver overlay pull --quiet --tls-verify=false \"$IMAGE\"",
        ),
        engine(
            "buildah pull",
            "buildah --root \"$D/root\" --runroot \"$D/run\" --storage-driver overlay pull --quiet --tls-verify=false \"docker://$IMAGE\"",
        ),
    ]
}

/// A registry's image to an OCI layout.
pub fn fetch<'a>(places: &'a Places<'a>, registry: &Registry, layout: &'a Path) -> Vec<Contestant<'a>> {
    let (ours, theirs, floor) = (name(registry), name(registry), registry.address.clone());
    vec![
        places.contestant("conex copy", move |place, _| {
            let mut command = places.conex(&place.with_extension("store"));
            command.args(["copy", "--quiet", &format!("docker://{ours}")]);
            command.arg(format!("oci:{}:x", place.display()));
            command
        }),
        places.contestant("skopeo copy", move |place, _| {
            let mut command = places.peer("skopeo");
            command.args(["copy", "--insecure-policy", "--quiet", "--src-tls-verify=false", &format!("docker://{theirs}")]);
            command.arg(format!("oci:{}:x", place.display()));
            command
        }),
        places.contestant("floor: curl of each blob", move |place, _| {
            let line = format!(
                "{LAYERS} for blob in $(layers); do \
                 echo \"url=http://{floor}/v2/debian/blobs/sha256:${{blob##*/}}\"; echo \"output=$D/${{blob##*/}}\"; done \
                 | curl -sSL --parallel -K -"
            );
            let mut command = places.shell(place, &line);
            command.env("L", layout);
            command
        }),
        places.contestant("floor: cp of the blobs", move |place, _| {
            let mut command = places.shell(place, "mkdir \"$D\"; cp \"$L\"/blobs/sha256/* \"$D\"");
            command.env("L", layout);
            command
        }),
    ]
}

/// A push of what the registry has under that very name.
pub fn push_again<'a>(places: &'a Places<'a>, registry: &Registry, layout: &'a Path) -> Vec<Contestant<'a>> {
    let (ours, theirs) = (name(registry), name(registry));
    pushers(places, layout, move |_| ours.clone(), move |_| theirs.clone())
}

/// A push to a new repository of a registry that has all blobs in another, where both have pushed them before.
pub fn push_mountable<'a>(
    places: &'a Places<'a>,
    registry: &Registry,
    layout: &'a Path,
) -> Vec<Contestant<'a>> {
    let (ours, theirs) = (registry.address.clone(), registry.address.clone());
    pushers(
        places,
        layout,
        move |round| format!("{ours}/ours-{round}:x"),
        move |round| format!("{theirs}/theirs-{round}:x"),
    )
}

/// A push of everything, each time to a registry that was just started.
pub fn push_all<'a>(places: &'a Places<'a>, layout: &'a Path) -> Vec<Contestant<'a>> {
    let running: Rc<RefCell<HashMap<bool, Registry>>> = Rc::default();
    let fresh = |who: bool| {
        let running = Rc::clone(&running);
        move |_| {
            let registry = places.empty_registry().expect("a registry ran before");
            let name = name(&registry);
            running.borrow_mut().insert(who, registry);
            // Both remember which registry has what.
            let _ = std::fs::remove_dir_all("/var/lib/containers/cache");
            let _ = std::fs::remove_dir_all(places.store().join("seen"));
            name
        }
    };
    pushers(places, layout, fresh(true), fresh(false))
}

fn pushers<'a>(
    places: &'a Places<'a>,
    layout: &'a Path,
    ours: impl Fn(usize) -> String + 'a,
    theirs: impl Fn(usize) -> String + 'a,
) -> Vec<Contestant<'a>> {
    vec![
        places.contestant("conex copy", move |_, round| {
            let mut command = places.conex(&places.store());
            command.args(["copy", "--quiet"]).arg(source(layout)).arg(format!("docker://{}", ours(round)));
            command
        }),
        places.contestant("skopeo copy", move |_, round| {
            let mut command = places.peer("skopeo");
            command.args(["copy", "--insecure-policy", "--quiet", "--dest-tls-verify=false"]);
            command.arg(source(layout)).arg(format!("docker://{}", theirs(round)));
            command
        }),
    ]
}

pub fn inspect<'a>(places: &'a Places<'a>, registry: &Registry) -> Vec<Contestant<'a>> {
    let (ours, theirs) = (name(registry), name(registry));
    vec![
        places.contestant("conex inspect", move |place, _| {
            let mut command = places.conex(&place.with_extension("store"));
            command.args(["inspect", &format!("docker://{ours}")]);
            command
        }),
        places.contestant("skopeo inspect", move |_, _| {
            let mut command = places.peer("skopeo");
            command.args(["inspect", "--tls-verify=false", &format!("docker://{theirs}")]);
            command
        }),
    ]
}

pub fn list<'a>(places: &'a Places<'a>, store: &'a Path) -> Vec<Contestant<'a>> {
    vec![places.contestant("conex images", |_, _| {
        let mut command = places.conex(store);
        command.arg("images");
        command
    })]
}

/// How many requests each tool makes, by the registry's own log.
pub fn requests(places: &Places<'_>, layout: &Path) -> Result<()> {
    println!("\n### requests at the registry\n\n| | conex | skopeo |\n|---|---|---|");
    let mut rows: Vec<(&str, [usize; 2])> = Vec::new();
    for (column, ours) in [(0, true), (1, false)] {
        let registry = places.empty_registry()?;
        let remote = format!("docker://{}", name(&registry));
        let copy = |from: &str, to: &str| {
            let mut command = if ours { places.conex(&places.store()) } else { places.peer("skopeo") };
            command.args(["copy", "--quiet"]);
            if !ours {
                command.args(["--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
            }
            command.args([from, to]);
            command
        };
        let look = || {
            let mut command = if ours { places.conex(&places.store()) } else { places.peer("skopeo") };
            command.arg("inspect").args((!ours).then_some("--tls-verify=false")).arg(&remote);
            command
        };
        let target = format!("oci:{}:x", places.memory.join(format!("requests-{column}")).display());
        let stories = [
            ("push to an empty registry", copy(&source(layout), &remote)),
            ("push again", copy(&source(layout), &remote)),
            ("copy to a layout", copy(&remote, &target)),
            ("copy again", copy(&remote, &target)),
            ("inspect", look()),
        ];
        for (at, (story, mut command)) in stories.into_iter().enumerate() {
            let count = || registry.output().lines().filter(|line| line.contains(" /v2/")).count();
            let before = count();
            command.run().success();
            if rows.len() <= at {
                rows.push((story, [0, 0]));
            }
            rows[at].1[column] = count() - before;
        }
    }
    for (story, [ours, theirs]) in rows {
        println!("| {story} | {ours} | {theirs} |");
    }
    Ok(())
}
