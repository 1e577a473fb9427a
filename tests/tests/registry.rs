// SPDX-License-Identifier: Apache-2.0
//! `conex registry serve` as a program: killed without warning, told to end, asked by others.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use conex_testkit::run::{Background, poll};
use conex_testkit::server::HTPASSWD;
use conex_testkit::{Compression, Image, Layer, Run, Sandbox, needs, require, tar};

/// Starts it on a free port, and gives its address once it answers.
fn serve(sandbox: &Sandbox, root: &Path) -> (Background, String) {
    let mut command = sandbox.command(sandbox.programs().join("conex"));
    command.arg("--root").arg(root).args(["registry", "serve", "--listen", "127.0.0.1:0"]);
    listening(command.background())
}

fn listening(process: Background) -> (Background, String) {
    let address = poll(Duration::from_secs(20), || {
        process.output().lines().find_map(|line| Some(line.split_once("http://")?.1.trim().to_owned()))
    });
    let address = address.unwrap_or_else(|| panic!("does not listen:\n{}", process.output()));
    (process, address)
}

fn image(seed: u32) -> Image {
    let noise = (0..600_000_u32).map(|n| (n.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8);
    Image::new(vec![Layer::new(&[tar::file("noise", noise.collect::<Vec<_>>())])])
}

/// Whether a copy succeeds.
fn copies(sandbox: &Sandbox, from: &str, to: &str) -> bool {
    sandbox.conex(["copy", from, to]).run().code() == 0
}

#[test]
fn killed_during_pushes_it_keeps_what_it_acknowledged() {
    let sandbox = Sandbox::new();
    let root = sandbox.path("registry");
    let layout = sandbox.layout("layout");
    let tags: Vec<_> = (0..6).map(|number| format!("t{number}")).collect();
    for (seed, tag) in (1..).zip(&tags) {
        layout.add(tag, &image(seed * 1000));
    }
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..3_u64 {
        let (mut server, address) = serve(&sandbox, &root);
        std::thread::scope(|scope| {
            for tag in
                tags.iter().filter(|tag| !acknowledged.lock().expect("no panic").contains(*tag)).cloned()
            {
                let (sandbox, address, acknowledged) = (&sandbox, &address, &acknowledged);
                let from = format!("oci:{}:{tag}", layout.path.display());
                scope.spawn(move || {
                    if copies(sandbox, &from, &format!("docker://{address}/app:{tag}")) {
                        acknowledged.lock().expect("no panic").push(tag);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(15 + 25 * round));
            server.child.kill().expect("SIGKILL");
        });
    }
    let (mut server, address) = serve(&sandbox, &root);
    for tag in acknowledged.into_inner().expect("no panic") {
        let to = format!("oci:{}:{tag}", sandbox.path("back").display());
        assert!(copies(&sandbox, &format!("docker://{address}/app:{tag}"), &to), "{tag} was acknowledged");
    }
    for tag in &tags {
        let from = format!("oci:{}:{tag}", layout.path.display());
        assert!(copies(&sandbox, &from, &format!("docker://{address}/app:{tag}")), "{tag} can be pushed now");
    }
    server.stop();
    let store = root.to_str().expect("a plain path");
    sandbox
        .command(sandbox.programs().join("conex"))
        .args(["--root", store, "system", "fsck"])
        .run()
        .success();
    sandbox.finish();
}

#[test]
fn userns_a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("layout");
    layout.add("small", &image(1));
    let mut noise = vec![0; 4 << 20];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut noise))
        .expect("what no compression helps");
    layout.add(
        "large",
        &Image::new(vec![Layer::of_tar(&tar::archive(&[tar::file("noise", noise)]), Compression::None)]),
    );
    let disk = sandbox.path("disk");
    std::fs::create_dir(&disk).expect("make a directory");
    let script = "trap : TERM; mount -t tmpfs -o size=3m tmpfs \"$1\" && \"$2\" --root \"$1/registry\" registry serve --listen 127.0.0.1:0; \
                  \"$2\" --root \"$1/registry\" system fsck && echo clean";
    let mut command = sandbox.command("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(&disk).arg(sandbox.programs().join("conex"));
    let (mut server, address) = listening(command.background());
    let push = |tag: &str| {
        sandbox
            .conex([
                "copy",
                &format!("oci:{}:{tag}", layout.path.display()),
                &format!("docker://{address}/app:{tag}"),
            ])
            .run()
    };
    push("large").fails().says("500");
    push("small").success();
    let back = format!("oci:{}:small", sandbox.path("back").display());
    assert!(copies(&sandbox, &format!("docker://{address}/app:small"), &back), "what fits is kept");
    // SIGTERM to the whole group: the shell waits for its child, then looks at the store.
    let group = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).expect("kill");
    assert!(server.wait(Duration::from_secs(20)).is_some(), "it ends");
    assert!(server.output().contains("clean"), "{}", server.output());
    sandbox.finish();
}

#[test]
fn told_to_end_it_ends_well() {
    let sandbox = Sandbox::new();
    let (mut server, address) = serve(&sandbox, &sandbox.path("registry"));
    server.stop();
    let status = server.wait(Duration::from_secs(1)).expect("it has ended");
    assert!(status.success(), "{status}: {}", server.output());
    assert!(std::net::TcpStream::connect(&address).is_err(), "the port is free");
    let pull = sandbox.conex(["pull", &format!("{address}/app")]).run();
    pull.fails().exits(125).says("connection refused");
    sandbox.finish();
}

/// A registry with more options.
fn serve_with(sandbox: &Sandbox, root: &Path, options: &[&str]) -> (Background, String) {
    let mut command = sandbox.command(sandbox.programs().join("conex"));
    command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--dir"]).arg(root).args(options);
    listening(command.background())
}

#[test]
fn clients_get_their_tokens_and_strangers_pull() {
    needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("layout");
    layout.add("v1", &image(1));
    let users = sandbox.path("users");
    std::fs::write(&users, HTPASSWD).expect("write");
    let options = ["--htpasswd", users.to_str().expect("a plain path"), "--anonymous-pull"];
    let (mut server, address) = serve_with(&sandbox, &sandbox.path("registry"), &options);
    let oci = format!("oci:{}:v1", layout.path.display());
    let (ours, theirs) =
        (format!("docker://{address}/team/ours:v1"), format!("docker://{address}/team/theirs:v1"));
    sandbox.conex(["copy", &oci, &ours]).run().fails().says("log in");
    sandbox.conex(["copy", "--dest-creds", "me:wrong", &oci, &ours]).run().fails();
    sandbox.conex(["copy", "--dest-creds", "me:secret", &oci, &ours]).run().success();
    let skopeo = |args: &[&str]| sandbox.command("skopeo").arg("--insecure-policy").args(args).run();
    skopeo(&["copy", "--dest-tls-verify=false", "--dest-no-creds", &oci, &theirs]).fails();
    skopeo(&["copy", "--dest-tls-verify=false", "--dest-creds", "me:secret", &oci, &theirs]).success();
    for (client, image) in [("skopeo", &ours), ("conex", &theirs)] {
        let back = format!("oci:{}", sandbox.path(client).display());
        match client {
            "skopeo" => skopeo(&["copy", "--src-tls-verify=false", "--src-no-creds", image, &back]).success(),
            _ => sandbox.conex(["copy", image, &back]).run().success(),
        };
    }
    server.stop();
    sandbox.finish();
}

#[test]
fn a_cache_survives_its_upstream() {
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("layout");
    layout.add("v1", &image(1));
    let (mut upstream, there) = serve(&sandbox, &sandbox.path("upstream"));
    assert!(copies(
        &sandbox,
        &format!("oci:{}:v1", layout.path.display()),
        &format!("docker://{there}/team/app:v1")
    ));
    let root = sandbox.path("cache");
    let behind = format!("{there}/team");
    let (mut cache, here) = serve_with(&sandbox, &root, &["--upstream", &behind]);
    let pull = |name: &str| {
        copies(&sandbox, &format!("docker://{here}/app:v1"), &format!("oci:{}", sandbox.path(name).display()))
    };
    assert!(pull("first"));
    upstream.stop();
    assert!(pull("second"), "all is here");
    let other = sandbox.conex(["copy", &format!("docker://{here}/app:v2"), "oci:nowhere"]).run();
    other.fails().says("502");
    cache.stop();
    sandbox
        .command(sandbox.programs().join("conex"))
        .arg("--root")
        .arg(&root)
        .args(["system", "fsck"])
        .run()
        .success();
    sandbox.finish();
}

#[test]
fn a_thousand_clients_at_once() {
    const CLIENTS: usize = 1000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|current| current < 2 * CLIENTS as u64 + 100) {
        let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, all).expect("up to the hard limit");
    }
    let sandbox = Sandbox::new();
    let (mut server, address) = serve(&sandbox, &sandbox.path("registry"));
    let layout = sandbox.layout("layout");
    layout.add("v1", &image(1));
    assert!(copies(
        &sandbox,
        &format!("oci:{}:v1", layout.path.display()),
        &format!("docker://{address}/app:v1")
    ));
    // All are there at the same time, each in the middle of its request, before the first is answered.
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(&address).expect("connect");
            client
                .write_all(b"GET /v2/app/manifests/v1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
                .expect("send");
            client
        })
        .collect();
    assert!(copies(
        &sandbox,
        &format!("docker://{address}/app:v1"),
        &format!("oci:{}", sandbox.path("one-more").display())
    ));
    let answers: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.write_all(b"\r\n").expect("send");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            answer
        })
        .collect();
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    assert!(answers.iter().all(|answer| body(answer) == body(&answers[0])), "all get the same");
    server.stop();
    sandbox.finish();
}
