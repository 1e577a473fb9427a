// SPDX-License-Identifier: Apache-2.0
//! Every shape of an archive gives the same image; what was in an archive stays when another joins.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use conex_spec::image::media_type::{self, Compression};
use conex_spec::image::{Descriptor, Platform};

use super::*;
use crate::Image;
use crate::directory::Directory;
use crate::layer::tar::{Entry, Kind, Writer};
use crate::layout::{LayoutName, LayoutSink, LayoutSource};
use crate::testing::{Layer, Memory, compressed};
use crate::transfer::{CopyOptions, Form, Format, LayerForm, Select, Silent, Sink, Source, copy};
use crate::verify::sha256;

fn layers() -> [Vec<u8>; 2] {
    let lower = Layer::new().dir("etc", 0o755).file("etc/name", &"x".repeat(3000)).tar();
    [lower, Layer::new().file("etc/.wh.name", "").file("motd", "hello").tar()]
}

fn memory() -> Memory {
    Memory::image(&layers(), Compression::Gzip)
}

fn name(transport: &'static str, path: &Path, reference: Option<&str>) -> ArchiveName {
    let reference = reference.map(str::to_owned);
    ArchiveName { transport, path: path.to_owned(), reference, more_names: Vec::new() }
}

fn copy_all(source: &dyn Source, sink: &dyn Sink) -> Descriptor {
    copy(source, sink, &CopyOptions::default(), &Silent).unwrap()
}

/// Digest of the configuration, and the layers' diff_ids as their bytes have them.
fn content(source: &dyn Source) -> (String, Vec<String>) {
    let image = Image::load(source, &Platform::host()).unwrap();
    let diff_ids = image.layers().map(|(layer, _)| {
        let blob = source.open_blob(layer, 0).unwrap();
        let mut tar = Vec::new();
        let mut plain = crate::layer::compress::decoder(std::io::BufReader::new(blob.reader)).unwrap();
        plain.read_to_end(&mut tar).unwrap();
        sha256(&tar).to_string()
    });
    (image.id().to_string(), diff_ids.collect())
}

#[test]
fn a_name_is_split_at_the_first_colon() {
    let parsed = ArchiveName::parse("oci-archive", "a.tar:docker.io/x:1").unwrap();
    assert_eq!((parsed.path.to_str(), parsed.reference.as_deref()), (Some("a.tar"), Some("docker.io/x:1")));
    assert_eq!(ArchiveName::parse("t", "a:@3").unwrap().number().unwrap(), Some(3));
    assert!(ArchiveName::parse("t", "a:@x").unwrap().number().is_err());
    assert!(ArchiveName::parse("t", ":x").is_err() && ArchiveName::parse("t", "x:").is_err());
}

#[test]
fn there_and_back_through_every_shape() {
    let scratch = tempfile::tempdir().unwrap();
    let wanted = content(&memory());
    let at = |name: &str| scratch.path().join(name);

    let docker = name("docker-archive", &at("d.tar.gz"), Some("alpine"));
    copy_all(&memory(), &DockerArchiveSink::open(&docker).unwrap());
    let source = DockerArchiveSource::open(&docker).unwrap();
    assert_eq!(content(&source), wanted);

    let tree = name("docker-archive-dir", &at("tree"), Some("alpine:latest"));
    copy_all(&source, &DockerArchiveSink::open_directory(&tree).unwrap());
    let source = DockerArchiveSource::open_directory(&tree).unwrap();
    assert_eq!(content(&source), wanted);

    let oci = name("oci-archive", &at("o.tar"), Some("v1"));
    copy_all(&source, &OciArchiveSink::open(&oci).unwrap());
    let source = OciArchiveSource::open(&oci).unwrap();
    assert_eq!(content(&source), wanted);
    assert_eq!(source.resolve().unwrap().descriptor.media_type, media_type::OCI_MANIFEST);

    let directory = Directory::create(&at("dir")).unwrap();
    let put = copy_all(&source, &directory);
    let directory = Directory::open(&at("dir")).unwrap();
    assert_eq!(content(&directory), wanted);
    assert_eq!(put, source.resolve().unwrap().descriptor, "dir: takes every form");

    let layout = LayoutName { path: at("layout"), reference: Some("a".into()) };
    let put = copy_all(&directory, &LayoutSink::open(&layout).unwrap());
    assert_eq!(content(&LayoutSource::open(&layout).unwrap()), wanted);
    assert_eq!(
        put.digest,
        source.resolve().unwrap().descriptor.digest,
        "what has the form already keeps its digest"
    );
    let left: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn images_join_an_archive_and_are_chosen_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a.tar");
    let other = || Memory::image(&layers()[..1], Compression::None);
    for (transport, names) in
        [("docker-archive", ["alpine", "quay.io/x/y:1"]), ("oci-archive", ["one", "two"])]
    {
        let of = |reference| name(transport, &path, reference);
        let sink = |name: &ArchiveName| -> Box<dyn Sink> {
            if transport == "docker-archive" {
                Box::new(DockerArchiveSink::open(name).unwrap())
            } else {
                Box::new(OciArchiveSink::open(name).unwrap())
            }
        };
        let open = |reference: Option<&str>| -> Result<Box<dyn Source>> {
            let name = name(transport, &path, reference);
            let source: Box<dyn Source> = if transport == "docker-archive" {
                Box::new(DockerArchiveSource::open(&name)?)
            } else {
                Box::new(OciArchiveSource::open(&name)?)
            };
            source.resolve().map(|_| source)
        };
        let _ = fs::remove_file(&path);
        copy_all(&memory(), sink(&of(Some(names[0]))).as_ref());
        assert_eq!(content(open(None).unwrap().as_ref()), content(&memory()));
        copy_all(&other(), sink(&of(Some(names[1]))).as_ref());
        assert_eq!(content(open(Some(names[0])).unwrap().as_ref()), content(&memory()), "{transport}");
        assert_eq!(content(open(Some(names[1])).unwrap().as_ref()), content(&other()));
        assert_eq!(content(open(Some("@0")).unwrap().as_ref()), content(&memory()));
        let said = open(None).err().unwrap().to_string();
        assert!(said.contains("holds 2 images"), "{said}");
        assert_eq!(open(Some("none")).err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(open(Some("@2")).err().unwrap().kind(), ErrorKind::NotFound);
        // A name moves; the older image stays, without it.
        copy_all(&other(), sink(&of(Some(names[0]))).as_ref());
        assert_eq!(content(open(Some(names[0])).unwrap().as_ref()), content(&other()));
        assert_eq!(content(open(Some("@0")).unwrap().as_ref()), content(&memory()));
    }
}

/// Members by name, in order.
type Files = Vec<(String, Vec<u8>)>;

/// Makes an archive lie.
type Spoil = fn(&mut Files);

/// An archive as docker before 25 wrote it, or as `download-frozen-image-v2.sh` leaves it in a directory.
fn classic(layer: impl Fn(&[u8]) -> Vec<u8>) -> Files {
    let memory = memory();
    let config = memory.blobs[&memory.manifest.config.digest].clone();
    let hex = memory.manifest.config.digest.hex();
    let [lower, upper] = layers();
    let manifest = format!(
        r#"[{{"Config":"{hex}.json","RepoTags":["alpine:latest"],"Layers":["a1/layer.tar","b2/layer.tar"]}}]"#
    );
    vec![
        (format!("{hex}.json"), config),
        ("a1/VERSION".into(), b"1.0".to_vec()),
        ("a1/layer.tar".into(), layer(&lower)),
        ("b2/layer.tar".into(), layer(&upper)),
        ("manifest.json".into(), manifest.into_bytes()),
    ]
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (name, bytes) in files {
        tar.append(&Entry::new(name, Kind::file(bytes.len() as u64), 0o644), &mut &bytes[..]).unwrap();
    }
    tar.finish().unwrap()
}

#[test]
fn the_shapes_that_others_write() {
    let scratch = tempfile::tempdir().unwrap();
    let wanted = content(&memory());
    let file = scratch.path().join("a.tar");
    let named = name("docker-archive", &file, Some("docker.io/library/alpine"));
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let files = classic(|layer| compressed(layer, compression));
        fs::write(&file, tar_of(&files)).unwrap();
        assert_eq!(content(&DockerArchiveSource::open(&named).unwrap()), wanted, "{compression:?} inside");
        fs::write(&file, compressed(&tar_of(&classic(<[u8]>::to_vec)), compression)).unwrap();
        assert_eq!(content(&DockerArchiveSource::open(&named).unwrap()), wanted, "{compression:?} outside");
    }

    // A layer that is a link to another image's.
    let mut tar = Writer::new(Vec::new());
    for (name, bytes) in classic(<[u8]>::to_vec) {
        let (name, link) = if name == "b2/layer.tar" { ("c3/real.tar".into(), true) } else { (name, false) };
        tar.append(&Entry::new(name, Kind::file(bytes.len() as u64), 0o644), &mut &bytes[..]).unwrap();
        if link {
            let target = "../../../c3/real.tar".into();
            tar.append_empty(&Entry::new("b2/layer.tar", Kind::Symlink { target }, 0o777)).unwrap();
        }
    }
    fs::write(&file, tar.finish().unwrap()).unwrap();
    assert_eq!(content(&DockerArchiveSource::open(&named).unwrap()), wanted);
}

#[test]
fn archives_that_lie_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a.tar");
    let target = name("docker-archive", &scratch.path().join("out.tar"), None);
    let cases: [(&str, Spoil, &str); 5] = [
        ("a layer changed", |files| files[2].1[600] ^= 1, "sha256:"),
        ("a layer is missing", |files| drop(files.remove(2)), "no file \"a1/layer.tar\""),
        ("no manifest", |files| drop(files.pop()), "no manifest.json"),
        ("no configuration", |files| drop(files.remove(0)), ".json\" in it"),
        ("half a manifest", |files| files[4].1.truncate(20), "manifest.json: "),
    ];
    for (what, spoil, said) in cases {
        let mut files = classic(<[u8]>::to_vec);
        spoil(&mut files);
        fs::write(&file, tar_of(&files)).unwrap();
        let source = DockerArchiveSource::open(&name("docker-archive", &file, None));
        let copied = source.and_then(|source| {
            copy(&source, &DockerArchiveSink::open(&target)?, &CopyOptions::default(), &Silent)
        });
        let error = copied.expect_err(what).to_string();
        assert!(error.contains(said), "{what}: {error}");
    }
    let left: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a.tar"], "nothing half-done stays");
}

#[test]
fn forms_change_and_come_back() {
    let scratch = tempfile::tempdir().unwrap();
    let convert = |source: &dyn Source, form: Form, name: &str| {
        let directory = Directory::create(&scratch.path().join(name)).unwrap();
        let options = CopyOptions { form, ..CopyOptions::default() };
        let descriptor = copy(source, &directory, &options, &Silent).unwrap();
        assert_eq!(content(&directory), content(&memory()));
        (directory, descriptor)
    };
    let form = |format, layers| Form { format: Some(format), layers: Some(layers) };
    let zstd = LayerForm::As(Compression::Zstd);
    let (docker, descriptor) =
        convert(&memory(), form(Format::Docker, LayerForm::As(Compression::None)), "docker");
    assert_eq!(descriptor.media_type, media_type::DOCKER_MANIFEST);
    let (oci, descriptor) = convert(&docker, form(Format::Oci, zstd), "oci");
    assert_eq!(descriptor.media_type, media_type::OCI_MANIFEST);
    let image = Image::load(&oci, &Platform::host()).unwrap();
    assert!(image.manifest.layers.iter().all(|layer| layer.media_type == media_type::OCI_LAYER_ZSTD));
    let (_, back) = convert(&oci, form(Format::Oci, LayerForm::As(Compression::Gzip)), "back");
    assert_eq!(back, memory().top.descriptor, "the same compressor gives the same image");

    let options =
        CopyOptions { form: form(Format::Oci, zstd), preserve_digests: true, ..CopyOptions::default() };
    let refused = copy(&memory(), &Directory::create(&scratch.path().join("x")).unwrap(), &options, &Silent);
    assert!(refused.unwrap_err().to_string().contains("another digest"));
}

#[test]
fn an_index_is_converted_with_all_below_it() {
    let scratch = tempfile::tempdir().unwrap();
    let index = memory().in_index();
    let docker = Directory::create(&scratch.path().join("docker")).unwrap();
    let form = Form { format: Some(Format::Docker), layers: None };
    let options = CopyOptions { select: Select::All, form, ..CopyOptions::default() };
    let descriptor = copy(&index, &docker, &options, &Silent).unwrap();
    assert_eq!(descriptor.media_type, media_type::DOCKER_MANIFEST_LIST);
    assert_eq!(content(&Directory::open(&scratch.path().join("docker")).unwrap()), content(&memory()));
    let archive = name("docker-archive", &scratch.path().join("a.tar"), None);
    let sink = DockerArchiveSink::open(&archive).unwrap();
    let options = CopyOptions { select: Select::All, ..CopyOptions::default() };
    let refused = copy(&memory().in_index(), &sink, &options, &Silent).unwrap_err();
    assert!(refused.to_string().contains("single images"), "{refused}");
}
