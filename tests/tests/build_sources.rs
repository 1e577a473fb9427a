// SPDX-License-Identifier: Apache-2.0
//! `conex build` from elsewhere and to elsewhere: files and repositories on other machines, archives and addresses as
//! contexts, linked copies, agents, arguments from files, and the result as files or archives.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use conex_testkit::run::{Background, poll};
use conex_testkit::server::free_address;
use conex_testkit::{Place, Run, Sandbox, for_both, needs, require, tar};

/// A directory on a web server, and a repository in it that git serves.
struct Elsewhere<'a> {
    sandbox: &'a Sandbox,
    http: String,
    git: String,
    _servers: [Background; 2],
}

impl<'a> Elsewhere<'a> {
    fn serve(sandbox: &'a Sandbox) -> require::Requirement<Self> {
        let busybox = require::program("busybox")?;
        let git = require::program("git")?;
        let served = sandbox.path("served");
        fs::create_dir_all(served.join("r/sub")).unwrap();
        fs::write(served.join("r/sub/file"), "first\n").unwrap();
        fs::write(served.join("r/Containerfile"), "FROM busybox\nCOPY sub/file /from-git\n").unwrap();
        std::os::unix::fs::symlink("/etc", served.join("r/out")).unwrap();
        let script = "set -e; cd r; git init -q -b main; git config user.name a; git config user.email a@b; git add .; \
                      git commit -qm 1; git tag v1; echo second > sub/file; git commit -qam 2";
        sandbox.command("sh").args(["-c", script]).current_dir(&served).run().success();
        let (web, daemon) = (free_address(), free_address());
        let http = sandbox
            .command(busybox)
            .args(["httpd", "-f", "-p", &web.to_string(), "-h"])
            .arg(&served)
            .background();
        let words = ["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"];
        let git = sandbox
            .command(git)
            .args(words)
            .arg(format!("--port={}", daemon.port()))
            .arg(format!("--base-path={}", served.display()))
            .arg(&served)
            .background();
        for address in [web, daemon] {
            let answers = poll(Duration::from_secs(20), || TcpStream::connect(address).ok());
            assert!(answers.is_some(), "{}\n{}", http.output(), git.output());
        }
        Ok(Self {
            sandbox,
            http: format!("http://{web}"),
            git: format!("git://{daemon}/r"),
            _servers: [http, git],
        })
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.sandbox.path("served").join(name), bytes).unwrap();
    }
}

/// A build's directory with these files.
fn context(place: &Place<'_>, files: &[(&str, &str)]) -> PathBuf {
    let context = place.sandbox.path("work/context");
    fs::create_dir_all(&context).unwrap();
    for (name, text) in files {
        fs::write(context.join(name), text).unwrap();
    }
    if let Some(user) = &place.user {
        user.own(&context);
    }
    context
}

fn prints(place: &Place<'_>, image: &str, script: &str) -> String {
    place.conex(&["run", "--rm", "--network", "none", image, "sh", "-c", script]).run().success().stdout
}

for_both!(fetched, root_what_is_on_other_machines, root_other_machines_of_an_ordinary_user);
for_both!(written, root_results_go_elsewhere, root_results_of_an_ordinary_user);

fn fetched(place: &Place<'_>) {
    let elsewhere = needs!(Elsewhere::serve(place.sandbox));
    let (http, git) = (&elsewhere.http, &elsewhere.git);
    elsewhere.put("file", b"fetched\n");
    elsewhere.put("a.tar", &tar::archive(&[tar::file("inner", "unpacked\n")]));
    let digest = "sha256:e9a7f4d9f1d2f4e8a1c1c0b5fd1f4d1b0a3a1f7b1f6a1a5b1f1f1f1f1f1f1f1f";
    let file = format!(
        "FROM busybox\nADD {http}/file /got/\nADD {http}/a.tar /kept/\nADD --unpack=true {http}/a.tar /unpacked/\n\
         ADD {git}#v1:sub /first/\nADD --keep-git-dir=true {git} /whole/\nADD {git}#main:out /out/\n"
    );
    let path = context(place, &[("Containerfile", &file)]);
    let path = path.to_str().unwrap();
    let refused = place.conex(&["build", path]).run();
    // The repository's link to /etc leads to the repository's own /etc, which it has not.
    refused.exits(125).says("is not there");
    let file = file.rsplit_once("ADD").unwrap().0;
    context(place, &[("Containerfile", file)]);
    place.conex(&["build", "-t", "app", path]).run().success();
    let look = "cd /; cat got/file first/file whole/sub/file unpacked/inner; stat -c '%a %u' got/file; ls kept; ls -d whole/.git first/.git";
    let seen = place.conex(&["run", "--rm", "--network", "none", "app", "sh", "-c", look]).run();
    assert_eq!(seen.stdout, "fetched\nfirst\nsecond\nunpacked\n600 0\na.tar\nwhole/.git\n");
    let again = place.conex(&["build", path]).run().success();
    assert_eq!(again.stderr.matches(" CACHED").count(), 5, "{again}");
    elsewhere.put("file", b"changed\n");
    let changed = place.conex(&["build", path]).run().success();
    assert_eq!(changed.stderr.matches(" CACHED").count(), 0, "all is above the file that changed: {changed}");

    let wrong = [
        (format!("ADD --checksum={digest} {http}/file /"), "not sha256:e9a7"),
        (format!("ADD {http}/nothing /"), "is not there"),
        (format!("ADD {git}#--upload-pack=touch /"), "is no branch, tag or commit"),
        (format!("ADD {git}#main:../../etc /x/"), "is not there"),
        (format!("ADD --checksum=0123456789012345678901234567890123456789 {git} /"), "not 0123"),
    ];
    for (line, why) in wrong {
        context(place, &[("Containerfile", &format!("FROM busybox\n{line}\n"))]);
        place.conex(&["build", path]).run().exits(125).says(why);
    }

    // Contexts that are no directories.
    let files = [tar::file("Containerfile", "FROM busybox\nCOPY a /\n"), tar::file("a", "from a tar\n")];
    let archive = tar::archive(&files);
    elsewhere.put("context.tar", &archive);
    place.conex(&["build", "-t", "piped", "-"]).run_with(&archive, Duration::from_secs(120)).success();
    assert_eq!(prints(place, "piped", "cat /a"), "from a tar\n");
    place.conex(&["build", "-t", "got", &format!("{http}/context.tar")]).run().success();
    assert_eq!(prints(place, "got", "cat /a"), "from a tar\n");
    place.conex(&["build", "-t", "cloned", &format!("{git}#v1")]).run().success();
    assert_eq!(prints(place, "cloned", "cat /from-git"), "first\n");
    let named = ["build", "-t", "named", "--build-context", &format!("other={git}#main:sub"), "-"];
    let text = b"FROM busybox\nCOPY --from=other file /\n";
    place.conex(&named).run_with(text, Duration::from_secs(120)).success();
    assert_eq!(prints(place, "named", "cat /file"), "second\n");
    // A context that is somebody else's does not show the host's files.
    let link = context(place, &[]).join("Containerfile");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let refused = place.conex(&["build", path]).run().exits(125);
    assert!(!refused.stderr.contains(fs::read_to_string("/etc/hostname").unwrap().trim()), "{refused}");
    place.conex(&["system", "fsck"]).run().success();
}

fn written(place: &Place<'_>) {
    let file = "FROM busybox AS base\nARG ONE\nARG TWO\nRUN echo $ONE $TWO > /args\nFROM base\nRUN echo x > /mine\n\
                COPY --link --chmod=0600 a /opt/deep/a\nRUN --mount=type=ssh,required test -S \"$SSH_AUTH_SOCK\"\n";
    let path =
        context(place, &[("Containerfile", file), ("a", "linked\n"), ("args", "# two\nONE=1\nTWO=file\n")]);
    let socket = context(place, &[]).join("agent");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (path, ssh) = (path.to_str().unwrap(), format!("default={}", socket.display()));
    let out = place.sandbox.path("work/context/out");
    let to = |kind: &str, name: &str| format!("type={kind},dest={}", out.with_file_name(name).display());
    let args = out.with_file_name("args");
    let same = ["build", "-t", "app", "--ssh", &ssh, "--build-arg-file", args.to_str().unwrap()];
    let outputs =
        [out.to_str().unwrap().to_owned(), to("tar", "t.tar"), to("oci", "o.tar"), to("docker", "d.tar")];
    let outputs: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output.as_str()]).collect();
    place.conex(&[&same[..], &["--build-arg", "TWO=2"], &outputs, &[path]].concat()).run().success();
    assert_eq!(
        prints(place, "app", "cat /args /opt/deep/a; stat -c %a /opt/deep/a; test -e /bin/sh && echo here"),
        "1 2\nlinked\n600\nhere\n"
    );
    assert_eq!(fs::read_to_string(out.join("opt/deep/a")).unwrap(), "linked\n");
    let listed = place.command("tar").arg("-tf").arg(out.with_file_name("t.tar")).run().success();
    assert!(listed.stdout.contains("opt/deep/a\n"), "{listed}");
    for (transport, name) in [("oci-archive", "o.tar"), ("docker-archive", "d.tar")] {
        let archive = format!("{transport}:{}", out.with_file_name(name).display());
        place.conex(&["copy", "--quiet", &archive, "store:again"]).run().success();
        assert_eq!(prints(place, "again", "cat /opt/deep/a"), "linked\n");
    }
    // What the linked copy stands on does not matter to it.
    let cached = |output: &conex_testkit::Output| output.stderr.matches(" CACHED").count();
    let other = file.replace("echo x", "echo y");
    context(place, &[("Containerfile", &other)]);
    let again = place.conex(&[&same[..], &["--build-arg", "TWO=2", path]].concat()).run().success();
    assert_eq!(cached(&again), 2, "the first RUN, and the copy: {again}");
    let filtered = place
        .conex(&[&same[..], &["--build-arg", "TWO=2", "--no-cache-filter", "base", path]].concat())
        .run()
        .success();
    assert!(cached(&filtered) < 4, "{filtered}");
    let piped =
        place.conex(&[&same[..], &["--build-arg", "TWO=2", "-q", "-o", "-", path]].concat()).run().success();
    assert!(piped.stdout.contains("ustar"), "an archive on stdout");
    place.conex(&[&same[..3], &[path]].concat()).run().exits(125).says("--ssh default=SOCKET");
    place.conex(&["system", "fsck"]).run().success();
}
