// SPDX-License-Identifier: Apache-2.0
//! The walk that people learn containers by, typed as they type it: skopeo copies, umoci unpacks, runc runs. All
//! three are conex here, first on PATH by their names; public registries are mapped to one on loopback.

use std::sync::{Mutex, MutexGuard, PoisonError};

use conex_testkit::server::Registry;
use conex_testkit::user::Range;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, busybox, needs, require, tar};

/// Waits for something in the background; shows what the background has said when it does not come.
const SOON: &str = r#"
soon() {
  for try in $(seq 100); do sh -c "$1" && return; sleep 0.1; done 2>/dev/null
  echo "never: $1"; tail -n 20 ../terminal ../log; exit 1
}
"#;

/// Images by skopeo: two tags in one layout, blobs that are what their names say, a short name.
const COPY: &str = r#"
skopeo --version
skopeo copy --help
skopeo copy docker://docker.io/httpd:2.4.48 oci:httpd:2.4.48
skopeo copy docker://docker.io/httpd:2.4.47 oci:httpd:2.4.47
cat httpd/index.json | jq
[ "$(jq -r '.manifests[].annotations["org.opencontainers.image.ref.name"]' httpd/index.json | sort | tr '\n' ' ')" = "2.4.47 2.4.48 " ]
for blob in httpd/blobs/sha256/*; do [ "$(sha256sum < $blob)" = "$(basename $blob)  -" ]; done
skopeo copy docker://busybox:latest oci:busybox-oci
"#;

/// A bundle by umoci.
const UNPACK: &str = r#"
umoci --version
umoci unpack $ROOTLESS --image httpd:2.4.47 bundle
ls bundle
[ -d bundle/rootfs ] && [ -e bundle/config.json ] && [ -e bundle/umoci.json ] && ls bundle/sha256_*.mtree
sed -i 's/Listen 80/Listen 8091/' bundle/rootfs/usr/local/apache2/conf/httpd.conf
"#;

/// A container by runc. `script` is the terminal that a person would sit at.
const RUN: &str = r#"
runc --version
mkdir spec spec-b
(cd spec && runc spec && jq -e .ociVersion config.json)
runc spec -b spec-b && [ -e spec-b/config.json ]

cd bundle
script -qec 'runc run test' /dev/null < /dev/null > ../terminal 2>&1 &
soon 'runc list | grep -q running'
curl_inside='exec 2>&1; for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://127.0.0.1:8091/ && break; sleep 0.2; done'
runc exec test sh -c "$curl_inside" | grep 'It works'
[ -z "$ROOTLESS" ] || curl --silent --retry 5 --retry-connrefused localhost:8091 | grep 'It works'
[ -z "$ROOTLESS" ] || ls $XDG_RUNTIME_DIR/runc/test/state.json
script -qec 'runc exec --tty test sh -c "tty; exit 5"' /dev/null < /dev/null > ../tty && exit 9 || [ $? = 5 ]
grep /dev/pts/ ../tty
ps --forest -x
runc kill test KILL
wait
runc list
[ -z "$(runc list --quiet)" ]

# A flag after the id; the bundle still asks for a terminal, and there is no console socket.
runc run test --detach 2> ../refused && exit 9
cat ../refused
grep -i console ../refused
runc delete --force test

sed -i 's/"terminal": *true/"terminal": false/' config.json
runc run --detach test < /dev/null > ../log 2>&1
runc list
runc state test | jq -e '.status == "running"'
runc exec test cat /etc/motd
runc kill test KILL
soon 'runc state test | grep -q stopped'
runc delete test

crun run test < /dev/null > ../log 2>&1 &
soon 'crun list | grep -q running'
crun kill test KILL
wait

runc create -b . rhel-tools < /dev/null > ../log 2>&1
runc list | grep created
runc start rhel-tools
runc exec --tty rhel-tools true < /dev/null 2> ../refused || cat ../refused
runc delete --force rhel-tools
cd ..
echo walked
"#;

/// The registry with what the walk pulls, pushed there by Debian's skopeo.
fn registry(sandbox: &Sandbox) -> require::Requirement<Registry> {
    let skopeo = require::program("skopeo")?;
    for tool in ["jq", "curl", "script", "ps"] {
        require::program(tool)?;
    }
    let registry = Registry::debian(sandbox)?;
    let layout = sandbox.layout("pushed");
    layout.add("busybox-latest", &busybox::image()?);
    layout.add("httpd-2.4.47", &httpd("2.4.47")?);
    layout.add("httpd-2.4.48", &httpd("2.4.48")?);
    for tag in ["busybox-latest", "httpd-2.4.47", "httpd-2.4.48"] {
        let name = tag.replacen('-', ":", 1);
        let mut push = sandbox.command(&skopeo);
        push.args(["copy", "--insecure-policy", "--dest-tls-verify=false", &format!("oci:pushed:{tag}")]);
        push.arg(format!("docker://{}/library/{name}", registry.address)).run().success();
    }
    let names = ["docker.io", "quay.io", "registry.access.redhat.com"];
    sandbox.map_registries(&names, &registry.address);
    Ok(registry)
}

/// A web server with Apache's places: `Listen` in its configuration is the port.
fn httpd(version: &str) -> require::Requirement<Image> {
    let serve = "#!/bin/sh\nport=$(sed -n 's/^Listen //p' /usr/local/apache2/conf/httpd.conf)\n\
                 exec httpd -f -p $port -h /usr/local/apache2/htdocs\n";
    let server = Layer::new(&[
        tar::file("usr/local/bin/httpd-foreground", serve).mode(0o755),
        tar::file("usr/local/apache2/conf/httpd.conf", "Listen 80\n"),
        tar::file("usr/local/apache2/htdocs/index.html", "overwritten\n"),
        tar::file("usr/local/apache2/build/left-over", "hidden\n"),
    ]);
    let page = format!("<html><body><h1>It works!</h1>{version}</body></html>\n");
    let content = Layer::new(&[
        tar::file("usr/local/apache2/htdocs/index.html", page),
        tar::opaque("usr/local/apache2/build"),
    ]);
    let layers = vec![Layer::new(&busybox::base_entries()?), server, content];
    Ok(Image::new(layers).cmd(&["httpd-foreground"]).set("WorkingDir", "/usr/local/apache2"))
}

fn walked(output: &Output) {
    assert!(output.status.success() && output.stdout.ends_with("walked\n"), "{output}");
}

/// The container is called `test`, and serves on one port, in every walk: they take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Root's containers are known under `/run`: here, one of the walk's own.
fn walk_as_root(sandbox: &Sandbox, first: &str) -> std::process::Command {
    let script = format!("set -eux\nmount -t tmpfs run /run\n{first}\nROOTLESS=\n{SOON}{COPY}{UNPACK}{RUN}");
    let mut walk = sandbox.command("unshare");
    walk.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    walk
}

#[test]
fn root_the_walk_as_typed() {
    needs!(require::root());
    let _turn = turn();
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    walked(&walk_as_root(&sandbox, "").run());
    drop(registry);
    sandbox.finish();
}

/// The control: the same lines with the tools they were written for.
#[test]
fn root_the_walk_with_debians_tools() {
    needs!(require::root());
    for tool in ["umoci", "runc", "crun"] {
        needs!(require::program(tool));
    }
    let _turn = turn();
    let sandbox = Sandbox::new();
    let registry = needs!(registry(&sandbox));
    // crun refuses a host where v1 and a v2 hierarchy with controllers stand side by side.
    let mut walk = walk_as_root(&sandbox, "umount /sys/fs/cgroup/unified || true");
    walked(&walk.env("PATH", require::HOST_PATH.join(":")).run());
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_the_walk_as_an_ordinary_user() {
    needs!(require::root());
    let _turn = turn();
    let sandbox = Sandbox::new();
    let registry = needs!(registry(&sandbox));
    let user = sandbox.user(Range::Subordinate);
    let script = format!("set -eux\nROOTLESS=--rootless\n{SOON}{COPY}{UNPACK}{RUN}");
    walked(&user.command("sh").args(["-c", &script]).run());
    drop(registry);
    sandbox.finish();
}
