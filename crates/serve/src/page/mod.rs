// SPDX-License-Identifier: Apache-2.0
//! For a person with a browser: what is here. Plain HTML without a script; every page can be read by `curl`.
//!
//! ```text
//!  /                       repositories
//!  /ui/<name>              tags of a repository
//!  /ui/<name>:<tag>        an index: its platforms. A manifest: its configuration, layers, history, and
//!  /ui/<name>@<digest>     what refers to it
//! ```

mod html;
mod image;

use std::collections::BTreeSet;
use std::sync::Arc;

use conex_spec::image::Descriptor;
use hyper::header::{HeaderName, HeaderValue};

use crate::answer::{Answer, Refusal, Reply};
use crate::auth::{Action, Caller};
use crate::body::blocking;
use crate::route::{Place, Target};
use crate::storage::Storage;
use html::Html;

/// Nothing of a page may do anything, wherever its words come from.
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// The page, as far as its reader may see it.
pub(crate) async fn answer(storage: Arc<Storage>, caller: Caller, place: Place) -> Result<Answer, Refusal> {
    let page = blocking(move || match place {
        Place::Repositories => repositories(&storage, &caller),
        Place::Repository(name) => repository(&storage, &caller, &name),
        Place::Image(name, target) => {
            readable(&caller, &name)?;
            image::page(&storage, &name, &target)
        }
    })
    .await?;
    let mut answer = Reply::new(200).bytes(page);
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(answer)
}

fn readable(caller: &Caller, name: &str) -> Result<(), Refusal> {
    // Whoever may not read it does not learn whether it is there.
    if caller.has_right(Action::Pull, name) { Ok(()) } else { Err(no_repository()) }
}

fn no_repository() -> Refusal {
    Refusal::new(404, "NAME_UNKNOWN", "there is no such repository")
}

fn repositories(storage: &Storage, caller: &Caller) -> Result<String, Refusal> {
    let names = storage.names()?;
    let visible = names.repositories().filter(|name| caller.has_right(Action::Pull, name));
    let rows = visible.map(|name| {
        let tags = names.tags(name).count();
        vec![Html::default().link(&format!("/ui/{name}"), name), Html::from(tags.to_string())]
    });
    Ok(Html::default().table(&["repository", "tags"], rows).document("Repositories"))
}

fn repository(storage: &Storage, caller: &Caller, name: &str) -> Result<String, Refusal> {
    readable(caller, name)?;
    let names = storage.names()?;
    if !names.has_repository(name) {
        return Err(no_repository());
    }
    let row = |tag: &str| {
        let means = names.tag(name, tag)?;
        let summary = image::summary(storage, means);
        Some(vec![
            Html::default().link(&format!("/ui/{name}:{tag}"), tag),
            Html::default().code(&short(means)),
            Html::from(summary.platforms),
            Html::from(summary.size.map_or(String::new(), size)),
            Html::from(summary.created),
        ])
    };
    let head = ["tag", "digest", "platforms", "size", "made"];
    let page = Html::default().table(&head, names.tags(name).filter_map(row));
    let tagged: BTreeSet<_> =
        names.tags(name).filter_map(|tag| Some(&names.tag(name, tag)?.digest)).collect();
    let nameless = names.entries(name).filter(|(_, descriptor)| !tagged.contains(&descriptor.digest));
    let rows = nameless.map(|(_, descriptor)| {
        let what = storage.artifact_type(&descriptor).unwrap_or_else(|| descriptor.media_type.clone());
        vec![by_digest(name, &descriptor), Html::from(what)]
    });
    let page = page.raw("<h2>Without a tag</h2>").table(&["digest", "type"], rows);
    Ok(page.document(name))
}

fn by_digest(name: &str, descriptor: &Descriptor) -> Html {
    Html::default().link(&format!("/ui/{name}@{}", descriptor.digest), &short(descriptor))
}

fn short(descriptor: &Descriptor) -> String {
    descriptor.digest.hex().chars().take(12).collect()
}

/// `4.2 MB`
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let (mut whole, mut rest) = (bytes, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest) = (whole / 1000, whole % 1000 / 100);
        unit += 1;
    }
    match unit {
        0 => format!("{whole} {}", UNITS[unit]),
        _ => format!("{whole}.{rest} {}", UNITS[unit]),
    }
}

/// What the page of a target is called.
fn title(name: &str, target: &Target) -> String {
    match target {
        Target::Tag(tag) => format!("{name}:{tag}"),
        Target::Digest(digest) => format!("{name}@{digest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_260_000, "4.2 MB"), (u64::MAX, "18446744.0 TB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
