// SPDX-License-Identifier: Apache-2.0
//! Working containers, as root and as an ordinary user: the lines that people type, by the name of buildah, and the
//! verbs around them, and a kill at any call. Public names lead to a registry on loopback.

use std::fs;
use std::process::Command;

use conex_testkit::inject::{Fault, Injector};
use conex_testkit::server::Registry;
use conex_testkit::user::{Range, User};
use conex_testkit::{Image, Layer, Output, Run, Sandbox, busybox, effort, needs, require, tar};
use serde_json::Value;

/// From the name of an image to one of one's own, and a script of the same steps.
const WALK: &str = r#"
printf 'FROM alpine\nRUN apk update && apk add curl\nCMD curl\n' > Containerfile
buildah build
buildah images
buildah build -t my-first-image:latest
[ "$(conex run --rm --network none localhost/my-first-image:latest)" = 'I am curl' ]
printf 'FROM alpine\nUSER 1000\n' > ~/Containerfile
buildah build -t new-user-image:latest -f ~/Containerfile
[ "$(conex run --rm --network none localhost/new-user-image:latest id -u)" = 1000 ]
echo secret | buildah login --username me --password-stdin "$REGISTRY"
buildah pull httpd
buildah tag httpd quay.io/mkdev/dockerless:latest
[ "$(buildah from alpine)" = alpine-working-container ]
buildah ps | grep alpine-working-container
buildah run alpine-working-container -- apk update
buildah run alpine-working-container -- apk add curl
buildah config -e ENVIRONMENT=test alpine-working-container
buildah unshare <<'END'
set -eu
cat "$(buildah mount alpine-working-container)/etc/os-release" | grep NAME=walked
END
buildah commit alpine-working-container localhost/my-first-image:latest
buildah rm alpine-working-container
[ -z "$(buildah ps)" ]
buildah inspect --type image --format '{{.OCIv1.Config.Env}}' my-first-image | grep ' ENVIRONMENT=test]$'
cat > build.sh <<'END'
set -eu
c=$(buildah from alpine)
buildah run "$c" -- apk add curl
m=$(buildah mount "$c")
echo copied > "$m/copied"
buildah umount "$c"
buildah config --cmd curl "$c"
buildah commit --rm "$c" localhost/scripted:latest
END
buildah unshare sh build.sh
[ "$(conex run --rm --network none localhost/scripted:latest)" = 'I am curl' ]
[ "$(conex run --rm --network none localhost/scripted:latest cat /copied)" = copied ]
conex system fsck
echo walked
"#;

/// Verbs around: images without a name, other places, other forms, the words of Go templates.
const VERBS: &str = r#"
c=$(buildah from --name c alpine)
buildah run $c -- apk add curl
buildah config --label a=b --created-by me $c
id=$(buildah commit --quiet --timestamp 0 --iidfile iid $c)
[ "$(cat iid)" = "sha256:$id" ]
[ "$(buildah images -q | grep -c .)" -ge 2 ]
buildah images | grep '<none>'
buildah inspect --type image $id | jq -e '.OCIv1.config.Labels == {"a": "b"} and .OCIv1.created == "1970-01-01T00:00:00Z"'
buildah tag $id localhost/named:1
[ "$(buildah inspect --type image --format '{{.FromImageID}}' named:1)" = $id ]
[ "$(buildah inspect --type image --format '{{(index .OCIv1.History 1).CreatedBy}}' named:1)" = me ]
[ "$(buildah inspect --type image --format '{{len .OCIv1.RootFS.DiffIDs}}' named:1)" = 2 ]
[ "$(buildah inspect --type image --format '{{.Docker.Config.Labels.a}}' named:1)" = b ]
[ "$(buildah inspect --format '{{.FromImage}} {{.Container}}' $c)" = 'docker.io/library/alpine:latest c' ]
[ "$(buildah inspect --format '{{.OCIv1.History}}' $c | wc -l)" = 1 ]
buildah inspect --format '{{.ContainerID}}' $c | grep -E '^[0-9a-f]{64}$'
buildah push named:1 oci:pushed-layout:1
jq -e '.manifests | length == 1' pushed-layout/index.json
buildah push named:1 docker://quay.io/mkdev/named:1
buildah push named:1 quay.io/mkdev/named:2
skopeo inspect docker://quay.io/mkdev/named:1 | jq -e '.Labels == {"a": "b"}'
squashed=$(buildah commit --quiet --squash --format docker $c localhost/squashed:1)
buildah inspect --type manifest squashed:1 | jq -e '(.layers | length) == 1 and .mediaType == "application/vnd.docker.distribution.manifest.v2+json"'
[ "$(conex run --rm --network none localhost/squashed:1 curl)" = 'I am curl' ]
buildah commit --quiet $c oci-archive:straight.tar:there
tar -tf straight.tar | grep index.json
buildah commit --quiet $c docker://quay.io/mkdev/straight:1
skopeo inspect docker://quay.io/mkdev/straight:1 | jq -e '.Layers | length == 2'
buildah run --isolation chroot $c -- sh -c 'id -u; echo chrooted > /chrooted'
buildah run --isolation rootless $c -- cat /chrooted | grep chrooted
buildah containers --json | jq -e 'length == 1 and .[0].containername == "c" and .[0].builder and .[0].imagename == "docker.io/library/alpine:latest"'
[ "$(buildah containers --filter name=c --format '{{.ContainerName}}')" = c ]
[ -z "$(buildah containers --quiet --filter name=other)" ]
buildah containers -q --filter ancestor=alpine | grep -E '^[0-9a-f]{64}$'
[ "$(buildah unshare --mount PLACE=c sh -c 'cat $PLACE/chrooted')" = chrooted ]
buildah rename c d
buildah rmi alpine && exit 9 || true
buildah rm d
buildah rmi named:1
nameless=$(buildah from --name s scratch | xargs buildah commit --quiet)
buildah inspect --type image $nameless | jq -e '.OCIv1.os == "linux"'
buildah images -q | grep ${nameless%????????????????????????????????????????????????????}
buildah prune | grep $nameless
buildah inspect --type image $nameless && exit 9 || true
buildah rm --all
buildah rmi --all
[ -z "$(buildah images -q)" ]
conex system fsck
echo walked
"#;

/// The registry that all public names lead to, with an alpine whose apk needs no network.
fn registry(sandbox: &Sandbox) -> require::Requirement<Registry> {
    for tool in ["jq", "tar"] {
        require::program(tool)?;
    }
    const APK: &str = "#!/bin/sh
[ $1 = update ] || printf '#!/bin/sh\\necho I am %s\\n' $2 > /bin/$2
[ $1 = update ] || chmod 755 /bin/$2
echo OK
";
    let own = [tar::file("bin/apk", APK).mode(0o755), tar::file("etc/os-release", "NAME=walked\n")];
    let alpine = Image::new(vec![Layer::new(&[&busybox::base_entries()?[..], &own].concat())]);
    let layout = sandbox.layout("origin");
    for name in ["alpine", "httpd"] {
        layout.add(name, &alpine);
    }
    let registry = Registry::conex(sandbox);
    sandbox.map_registries(&["docker.io", "quay.io"], &registry.address);
    for name in ["alpine", "httpd"] {
        let to = format!("docker://docker.io/library/{name}:latest");
        sandbox.conex(["copy", "--quiet", &format!("oci:origin:{name}"), &to]).run().success();
    }
    Ok(registry)
}

fn walked(output: &Output) {
    assert!(output.status.success() && output.stdout.ends_with("walked\n"), "{output}");
}

fn walk(sandbox: &Sandbox, user: Option<&User<'_>>, registry: &Registry, script: &str) {
    let mut command = match user {
        Some(user) => user.command("sh"),
        None => {
            let mut command = sandbox.command("sh");
            command.env("CONEX_ROOT", sandbox.store()).env("CONEX_RUNROOT", sandbox.path("run/conex"));
            command
        }
    };
    walked(&command.env("REGISTRY", &registry.address).args(["-c", &format!("set -eux\n{script}")]).run());
}

fn as_root(script: &str) {
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    walk(&sandbox, None, &registry, script);
    drop(registry);
    sandbox.finish();
}

fn as_a_user(script: &str) {
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    let user = sandbox.user(Range::Subordinate);
    walk(&sandbox, Some(&user), &registry, script);
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_the_lines_that_people_type() {
    needs!(require::root());
    as_root(WALK);
}

#[test]
fn root_the_lines_that_people_type_as_an_ordinary_user() {
    needs!(require::root());
    needs!(require::program("newuidmap"));
    as_a_user(WALK);
}

#[test]
fn root_every_verb_around() {
    needs!(require::root());
    as_root(VERBS);
}

#[test]
fn root_every_verb_around_as_an_ordinary_user() {
    needs!(require::root());
    needs!(require::program("newuidmap"));
    as_a_user(VERBS);
}

/// A store with an image, and a verb that is killed.
struct Killed<'a> {
    sandbox: &'a Sandbox,
    injector: Injector<'a>,
}

impl Killed<'_> {
    fn says(&self, words: &[&str]) -> String {
        self.sandbox.conex(words).run().success().stdout
    }

    /// Kills the verb at its calls; each time the store is whole, nothing is mounted, and `after` goes on from there.
    fn everywhere(&self, verb: &[&str], before: impl Fn(&Self), mut after: impl FnMut(&Self)) {
        let command: Command = self.sandbox.conex(verb);
        before(self);
        let points = self.injector.points(&command);
        after(self);
        let mut kills = 0;
        for point in effort::sample(&points, 12) {
            before(self);
            kills += usize::from(self.injector.run(&command, point, Fault::Kill).0);
            let checked = self.sandbox.conex(["system", "fsck"]).run();
            assert!(checked.status.success(), "{verb:?} killed at {point:?}\n{checked}");
            let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel lists mounts");
            assert!(!mounts.contains(self.sandbox.tag()), "{verb:?} killed at {point:?}\n{mounts}");
            after(self);
            let left = fs::read_dir(self.sandbox.store().join("builders")).expect("a directory").count();
            assert_eq!(left, 0, "{verb:?} killed at {point:?}");
        }
        assert!(kills > 0, "{verb:?} was never killed");
        effort::tell(&format!("{verb:?} was killed at {kills} points"));
    }
}

#[test]
fn root_killed_verbs_leave_a_whole_store() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let killed = Killed { sandbox: &sandbox, injector: needs!(Injector::new(&sandbox)) };
    sandbox.layout("origin").add("a", &Image::new(vec![Layer::new(&[tar::file("below", "b")])]));
    fs::write(sandbox.path("work/new"), "new").expect("write a file");
    killed.says(&["copy", "--quiet", "oci:origin:a", "store:localhost/a:1"]);
    let from = ["builder", "from", "--name", "c", "localhost/a:1"];
    let rm = ["builder", "rm", "c"];

    killed.everywhere(
        &from,
        |_| (),
        |killed| {
            // Whole, or not there at all.
            match killed.says(&["builder", "containers", "-q"]).lines().count() {
                0 => assert_eq!(killed.says(&from), "c\n"),
                count => assert_eq!(count, 1),
            }
            killed.says(&["builder", "copy", "c", "new", "/"]);
            killed.says(&rm);
        },
    );

    let changed = |killed: &Killed<'_>| {
        killed.says(&from);
        killed.says(&["builder", "copy", "c", "new", "/"]);
    };
    let commit = ["builder", "commit", "--quiet", "c", "localhost/made:1"];
    killed.everywhere(&commit, changed, |killed| {
        killed.says(&commit);
        let manifest = killed.says(&["builder", "inspect", "--type", "manifest", "localhost/made:1"]);
        let manifest: Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
        assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2), "{manifest}");
        killed.says(&rm);
        killed.says(&["builder", "rmi", "localhost/made:1"]);
    });

    let file =
        "FROM localhost/a:1 AS one\nCOPY new /x/\nFROM localhost/a:1\nCOPY --from=one /x /y/\nWORKDIR /w\n";
    fs::write(sandbox.path("work/Containerfile"), file).expect("write a file");
    let build = ["build", "--quiet", "--timestamp", "1000000000", "--tag", "localhost/built:1"];
    let id = killed.says(&build);
    let forgotten = |killed: &Killed<'_>| {
        killed.says(&["builder", "rmi", "localhost/built:1"]);
        killed.says(&["system", "prune"]);
    };
    killed.everywhere(&build, forgotten, |killed| {
        assert_eq!(killed.says(&build), id);
        let left = fs::read_dir(sandbox.store().join("building")).expect("a directory").count();
        assert_eq!(left, 0, "the next build sweeps");
    });
    forgotten(&killed);

    killed.everywhere(&rm, changed, |killed| {
        killed.says(&["builder", "rm", "--all"]);
        assert_eq!(killed.says(&["builder", "containers", "-q"]), "");
    });
    sandbox.finish();
}
