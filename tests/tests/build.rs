// SPDX-License-Identifier: Apache-2.0
//! `conex build`, as root and as an ordinary user: images that run, the cache, failures, secrets.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conex_testkit::run::poll;
use conex_testkit::{Output, Place, Run, Sandbox, for_both, needs, require, tar};
use serde_json::Value;

/// What is built, and what came of it.
trait Builds {
    /// The build's directory, made when it is first asked for.
    fn context(&self) -> PathBuf;
    fn file(&self, name: &str, text: &str);
    fn build(&self, containerfile: &str, options: &[&str]) -> Output;
    /// What a program of the image prints.
    fn prints(&self, image: &str, words: &[&str]) -> String;
    fn is_whole(&self);
}

impl Builds for Place<'_> {
    fn context(&self) -> PathBuf {
        let context = self.sandbox.path("work/context");
        if !context.exists() {
            fs::create_dir(&context).unwrap();
            if let Some(user) = &self.user {
                user.own(&context);
            }
        }
        context
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn build(&self, containerfile: &str, options: &[&str]) -> Output {
        self.file("Containerfile", containerfile);
        let context = self.context();
        self.conex(&[&["build"], options, &[context.to_str().unwrap()]].concat()).run()
    }

    fn prints(&self, image: &str, words: &[&str]) -> String {
        self.conex(&[&["run", "--rm", image], words].concat()).run().success().stdout
    }

    fn is_whole(&self) {
        self.conex(&["system", "fsck"]).run().success();
        let left = fs::read_dir(self.sandbox.store().join("building")).unwrap().count();
        assert_eq!(left, 0, "a build leaves no working directory");
    }
}

for_both!(instructions, root_images_are_what_their_files_say, root_images_of_an_ordinary_user);
for_both!(cached, root_what_was_done_is_not_done_again, root_the_cache_of_an_ordinary_user);

for_both!(lines, root_the_lines_of_buildah_podman_and_docker, root_the_lines_as_an_ordinary_user);
for_both!(archives, root_archives_are_unpacked, root_archives_of_an_ordinary_user);

/// What people type, in the directory of the Containerfile.
const LINES: &str = r#"
cd context
cat > Containerfile <<'END'
FROM busybox
RUN echo curl > /bin/curl
CMD ["cat", "/bin/curl"]
END
cp Containerfile "$HOME/Containerfile"
id=$(buildah build)
buildah images -q | grep "$(printf %.12s "$id")"
[ "$(buildah build -t my-first-image:latest | tail -1)" ]
buildah tag $(buildah bud -q) quay.io/mkdev/dockerless:latest
buildah build -t new-user-image:latest -f ~/Containerfile
podman build -t by-podman .
docker build -q --progress=plain -t by-docker .
for image in my-first-image quay.io/mkdev/dockerless:latest new-user-image by-podman by-docker; do
  [ "$(conex run --rm --network none $image)" = curl ]
done
echo walked
"#;

fn lines(place: &Place<'_>) {
    place.context();
    let mut command = place.command("sh");
    command.env("CONEX_ROOT", place.sandbox.store()).env("CONEX_RUNROOT", place.sandbox.path("run/conex"));
    let output = command.args(["-c", &format!("set -eux\n{LINES}")]).run().success();
    assert!(output.stdout.ends_with("walked\n"), "{output}");
    place.is_whole();
}

/// Archives of the context, plain and compressed, and one that is to stay one; what the prune leaves of the cache.
fn archives(place: &Place<'_>) {
    let entries = [tar::file("a/file", "in it\n").mode(0o640).owner(7, 8), tar::symlink("a/link", "file")];
    fs::write(place.context().join("plain.tar"), tar::archive(&entries)).unwrap();
    place.sandbox.command("gzip").arg("-k").arg(place.context().join("plain.tar")).run().success();
    let file = "FROM busybox\nADD plain.tar /plain/\nADD plain.tar.gz /gzip\nADD --chown=3:4 plain.tar /chown/\n\
                ADD --unpack=false plain.tar.gz /kept/\nCOPY plain.tar /kept/\n\
                RUN --mount=type=cache,target=/c touch /c/x\n";
    place.build(file, &["-t", "app"]).success();
    let look = "cd /; stat -c '%n %a %u:%g' plain/a/file gzip/a/file chown/a/file; cat gzip/a/link; ls kept";
    let seen = place.prints("app", &["sh", "-c", look]);
    assert_eq!(
        seen,
        "plain/a/file 640 7:8\ngzip/a/file 640 7:8\nchown/a/file 640 3:4\nin it\nplain.tar\nplain.tar.gz\n"
    );
    let store = place.sandbox.store();
    let left = store.join("building/.left");
    fs::create_dir_all(left.join("7/merged")).unwrap();
    if let Some(user) = &place.user {
        user.own(&left);
    }
    place.build("FROM busybox\n", &[]).success();
    assert!(!left.exists(), "what a killed build leaves goes with the next");
    place.conex(&["system", "prune"]).run().success();
    assert!(!store.join("build-cache").exists(), "nothing is remembered");
    place.is_whole();
    let again = place.build(file, &[]).success();
    assert!(!again.stderr.contains("CACHED"), "{again}");
}

const STAGES: &str = "\
ARG WORD=tool
FROM busybox AS made
ARG WORD
RUN mkdir /out && echo $WORD > /out/tool && ln -s tool /out/link && touch /out/secret.md
FROM busybox AS unused
RUN exit 9
FROM busybox
ENV who=world
WORKDIR /app/data
COPY --chmod=u=rwx,go=rx --exclude=*.txt src ./src/
COPY --from=made --exclude=*.md /out/ /opt/
COPY <<one <<\"two\" /here/
hello $who
one
hello $who
two
RUN <<EOF
echo built by $(id -u) > /built
EOF
RUN --mount=type=bind,target=/ctx,rw touch /ctx/written && test -e /ctx/src/keep
RUN --mount=type=cache,target=/c echo x >> /c/count && wc -l < /c/count > /count
RUN --mount=type=secret,id=token grep -qx hush.hush /run/secrets/token
USER 1000
CMD [\"cat\", \"/built\"]
";

fn instructions(place: &Place<'_>) {
    place.file("src/keep", "kept");
    place.file("src/drop.txt", "dropped");
    place.file("src/ignored.o", "ignored");
    place.file(".containerignore", "**/*.o\n");
    place.file("token", "hush-hush");
    let token = format!("id=token,src={}", place.context().join("token").display());
    let iidfile = place.context().join("iid");
    let iid = iidfile.to_str().unwrap();
    let options = ["-t", "app:1", "--secret", &token, "--iidfile", iid, "--build-arg", "WORD=given"];
    let built = place.build(STAGES, &options).success();
    let id = built.stdout.lines().last().unwrap().to_owned();
    assert_eq!(fs::read_to_string(&iidfile).unwrap(), format!("sha256:{id}"));
    assert!(!built.stderr.contains("exit 9"), "a stage that nobody needs does not run: {built}");
    assert_eq!(place.prints("app:1", &[]), "built by 0\n");
    let look = "cat /opt/tool /here/one /here/two; ls /opt /app/data/src; readlink /opt/link; id -u; pwd; stat -c %a src/keep";
    let seen = place.prints("app:1", &["sh", "-c", look]);
    assert_eq!(
        seen,
        "given\nhello world\nhello $who\n/app/data/src:\nkeep\n\n/opt:\nlink\ntool\ntool\n1000\n/app/data\n755\n"
    );
    assert!(!place.context().join("written").exists(), "a command does not change its context");
    let config: Value =
        serde_json::from_str(&place.conex(&["inspect", "app:1"]).run().success().stdout).unwrap();
    assert_eq!(config[0]["Config"]["User"], "1000");
    let found = Command::new("grep").arg("-rl").arg("hush-hush").arg(place.sandbox.store()).run();
    assert_eq!(found.code(), 1, "the secret stays nowhere: {found}");
    place.is_whole();
}

fn cached(place: &Place<'_>) {
    let file = "FROM busybox\nRUN echo one > /one\nCOPY a /a\nRUN cat /a > /two\nLABEL x=y\n";
    place.file("a", "1");
    let times = |output: &Output| output.stderr.matches(" CACHED").count();
    let id = |output: &Output| output.stdout.lines().last().unwrap_or_default().to_owned();
    let same = ["--timestamp", "1000000000"];
    let first = place.build(file, &same).success();
    assert_eq!(times(&first), 0, "{first}");
    // The same content at another time is the same.
    place.file("a", "1");
    let second = place.build(file, &same).success();
    assert_eq!((times(&second), id(&second)), (3, id(&first)), "{second}");
    place.file("a", "2");
    let third = place.build(file, &same).success();
    assert_eq!(times(&third), 1, "{third}");
    assert_ne!(id(&third), id(&first));
    place.file("a", "1");
    let again = place.build(file, &[&same[..], &["--no-cache"]].concat()).success();
    assert_eq!(
        (times(&again), id(&again)),
        (0, id(&first)),
        "the same digests when all is done again: {again}"
    );
    place.is_whole();
}

/// Prints the capabilities and the note of the file that is called like this in the topmost layer that has one.
const ATTRIBUTES: &str = "\
import os, sys
for at, _, names in os.walk(sys.argv[1]):
    if sys.argv[2] in names:
        path = os.path.join(at, sys.argv[2])
        print(os.getxattr(path, 'security.capability').hex(), os.getxattr(path, 'user.note').decode(), os.stat(path).st_nlink)
";

/// File capabilities, attributes and hard links go from an archive into a stage, and from that into the next.
#[test]
fn root_attributes_go_from_stage_to_stage() {
    needs!(require::root());
    needs!(require::program("python3"));
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    // CAP_NET_RAW, permitted and effective (linux/capability.h, VFS_CAP_REVISION_2).
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tool = tar::file("bin/tool", "t").xattr("security.capability", capability).xattr("user.note", "kept");
    let entries = [tool, tar::hardlink("bin/again", "bin/tool")];
    fs::write(place.context().join("a.tar"), tar::archive(&entries)).unwrap();
    let file = |name: &str| {
        format!(
            "FROM scratch AS made\nADD a.tar /\nFROM scratch\nCOPY --from=made /bin /{name}/\nCOPY --from=made /bin/tool /{name}.only\n"
        )
    };
    place.build(&file("carried"), &["-t", "app"]).success();
    let look = |name: &str| {
        sandbox
            .command("python3")
            .args(["-c", ATTRIBUTES])
            .arg(sandbox.store().join("layers"))
            .arg(name)
            .run()
    };
    let hex: String = capability.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(look("carried.only").success().stdout, format!("{hex} kept 1\n"));
    assert_eq!(look("tool").success().stdout, format!("{hex} kept 2\n").repeat(2));
    place.is_whole();
    sandbox.finish();
}

#[test]
fn root_what_is_wrong_is_told_with_its_place() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let failed = place.build("FROM busybox\nRUN echo first\nRUN echo why; exit 7\n", &[]).exits(7);
    failed.says("Containerfile:3:1").says(">>> RUN echo why; exit 7");
    place.build("FROM busybox\nRUN exit 7\n", &["-q"]).exits(7);
    place.build("FROM busybox\nCPOY a b\n", &[]).exits(125).says("2:1").says("did you mean COPY?");
    place
        .build("FROM busybox\nCOPY missing /x\n", &[])
        .exits(125)
        .says("\"missing\" is not there")
        .says("Containerfile:2:1");
    place.build("FROM busybox\nCOPY ../../../etc/passwd /x\n", &[]).exits(125).says("is not there");
    place
        .build("FROM busybox\nRUN --security=insecure true\n", &[])
        .exits(125)
        .says("--allow security.insecure");
    let checked = place.build("FROM busybox AS Up\nCMD echo\n", &["--check"]).exits(1);
    assert!(checked.stdout.contains("2:1: JSONArgsRecommended"), "{checked}");
    place.build("# check=error=true\nFROM busybox AS Up\n", &[]).exits(125).says("StageNameCasing");
    let planned = place.build("FROM busybox\nRUN x\n", &["--plan"]).success();
    assert!(planned.stdout.contains("run [\"/bin/sh\", \"-c\", \"x\"] on 0"), "{planned}");
    place.is_whole();
    sandbox.finish();
}

/// Links of an image, and names of caches, lead nowhere (B01, B03, B09).
#[test]
fn root_links_of_a_build_lead_nowhere() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let canary = sandbox.path("work/canary");
    fs::create_dir(&canary).unwrap();
    let host = canary.display();
    let file = format!(
        "FROM busybox AS bad\nRUN ln -s / /rootdir && ln -s {host} /out\n\
         FROM busybox\n\
         RUN --mount=type=bind,from=bad,source=/rootdir,target=/x,rw touch /x/BREAK && test -e /x/bin/busybox\n\
         RUN --mount=type=bind,from=bad,source=../../..,target=/x,rw touch /x/BREAK\n\
         RUN --mount=type=cache,id=../../../../{host},target=/x touch /x/BREAK\n\
         RUN ln -s {host} /link\nCOPY Containerfile /link/\n"
    );
    place.build(&file, &[]).success();
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "something came out");
    assert!(!std::path::Path::new("/BREAK").exists());
    place.is_whole();
    sandbox.finish();
}

/// Each of two stages waits for the other: they end only if both run at the same time.
#[test]
fn root_stages_that_do_not_need_each_other_run_together() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let stage = |own: &str, other: &str| {
        format!(
            "FROM busybox AS {own}\nRUN --mount=type=cache,id=meet,target=/m touch /m/{own}; n=0; \
             until [ -e /m/{other} ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done; echo {own} > /{own}\n"
        )
    };
    let end = "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n";
    place.build(&[&stage("one", "two"), &stage("two", "one"), end].concat(), &["--jobs", "2"]).success();
    // Ten builds of one file: whoever comes second waits, and finds what the first has made.
    let file = "FROM busybox\nRUN --mount=type=cache,id=count,target=/m sleep 0.2; echo x >> /m/count\nCOPY Containerfile /\n\
                RUN --mount=type=cache,id=count,target=/m echo y >> /m/count; wc -l < /m/count > /lines\n";
    place.file("Containerfile", file);
    let context = place.context();
    let words = ["build", "-q", "--timestamp", "1000000000", context.to_str().unwrap()];
    let ids: Vec<String> = std::thread::scope(|scope| {
        let builds: Vec<_> =
            (0..10).map(|_| scope.spawn(|| place.conex(&words).run().success().stdout)).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    place.conex(&["tag", ids[0].trim(), "counted"]).run().success();
    assert_eq!(place.prints("counted", &["cat", "/lines"]), "2\n", "each step once");
    place.is_whole();
    sandbox.finish();
}

/// A killed build's command ends with the next build; what was finished is not done again.
#[test]
fn root_a_killed_build_leaves_nothing_for_long() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let file = |last: &str| {
        format!(
            "FROM busybox\nRUN echo finished > /a\nRUN --mount=type=cache,target=/m touch /m/begun; {last}\n"
        )
    };
    place.file("Containerfile", &file("sleep 1000"));
    let context = place.context();
    let mut build = place.conex(&["build", context.to_str().unwrap()]).background();
    let caches = sandbox.store().join("build-mounts");
    let begun = || {
        let entries = fs::read_dir(&caches).ok()?;
        entries.flatten().find(|entry| entry.path().join("begun").exists())
    };
    assert!(poll(Duration::from_secs(60), begun).is_some(), "{}", build.output());
    build.child.kill().unwrap();
    build.child.wait().unwrap();
    let next = place.build(&file("true"), &[]).success();
    assert_eq!(next.stderr.matches(" CACHED").count(), 1, "{next}");
    place.is_whole();
    sandbox.finish();
}
