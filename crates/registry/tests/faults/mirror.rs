// SPDX-License-Identifier: Apache-2.0
//! Mirrors and remapped names: reads go there first, and their failure is not the end.

use conex_image::transfer::{Sink, Source};
use conex_registry::{Client, Settings};

use crate::image::{Image, hasty, pull};
use crate::server::{Reply, Server};

fn settings(mirrors: &[&str], main: &str) -> Settings {
    let mut text = format!("[[registry]]\nprefix = \"reg.example/org\"\nlocation = \"{main}/real\"\n");
    for mirror in mirrors {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{mirror}/copy\"\n"));
    }
    let mut settings = hasty();
    settings.registries.add(&text).unwrap();
    settings
}

#[test]
fn a_mirror_is_asked_first_and_the_location_last() {
    let image = Image::new();
    let (own, other) = (image.clone(), image.clone());
    let broken = Server::start(|_| Reply::new(404, ""));
    let half = Server::start(move |seen| {
        if seen.target.contains("/manifests/") { own.reply(seen) } else { Reply::new(404, "") }
    });
    let main = Server::start(move |seen| other.reply(seen));
    let settings = settings(&[&broken.host(), &half.host()], &main.host());
    let remote = Client::new(settings).remote(&"reg.example/org/app:tag".parse().unwrap());
    pull(&remote, &image).unwrap();
    assert_eq!(broken.count("GET", "/v2/copy/app/"), 2);
    assert_eq!((half.count("GET", "/manifests/tag"), half.count("GET", "/blobs/")), (1, 1));
    assert_eq!((main.count("GET", "/manifests/"), main.count("GET", "/v2/real/app/blobs/")), (0, 1));
    assert_eq!(Source::describe(&remote), "docker://reg.example/org/app:tag", "the user's name for it");
}

#[test]
fn all_failures_are_told() {
    let broken = Server::start(|_| Reply::new(503, ""));
    let main = Server::start(|_| Reply::new(404, ""));
    let remote = Client::new(settings(&[&broken.host()], &main.host()))
        .remote(&"reg.example/org/app".parse().unwrap());
    let error = remote.resolve().unwrap_err().to_string();
    assert!(error.contains(&format!("mirror {}", broken.host())) && error.contains("404"), "{error}");
}

#[test]
fn nothing_is_written_to_a_mirror() {
    let image = Image::new();
    let mirror = Server::start(|_| Reply::new(201, ""));
    let main = Server::start(|_| Reply::new(201, ""));
    let remote = Client::new(settings(&[&mirror.host()], &main.host()))
        .remote(&"reg.example/org/app".parse().unwrap());
    let raw =
        conex_image::manifest::verified(image.manifest.clone(), &image.descriptor.media_type, None).unwrap();
    remote.commit(&raw).unwrap();
    assert_eq!((mirror.seen().len(), main.count("PUT", "/v2/real/app/manifests/latest")), (0, 1));
}
