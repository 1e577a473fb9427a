// SPDX-License-Identifier: Apache-2.0
//! Steps as lines of a runbook.

use std::fmt;

use serde::Serialize;

use super::{
    AdditionalGroups, AfterClone, BeforeClone, CapabilitySet, EnterRoot, HookMoment, Mount, MountSource,
    OpenSource, Plan, Propagation, PropagationKind, Question, Step,
};
use conex_spec::json;

use crate::plan::mounts::attribute_words;

/// The whole runbook.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "root filesystem {}", self.rootfs)?;
        writeln!(f, "cgroup")?;
        writeln!(f, "      {}", self.cgroup)?;
        numbered(f, "before clone, on the host", &self.before_clone)?;
        writeln!(f, "{}", self.birth())?;
        for joined in &self.join {
            writeln!(f, "      join {} of {}", joined.kind, joined.path)?;
        }
        for (name, maps) in self.id_maps.iter().flat_map(|maps| [("uid", &maps.uid), ("gid", &maps.gid)]) {
            for map in maps {
                writeln!(
                    f,
                    "      map {name} {} to {} on the host, {} ids",
                    map.container_id, map.host_id, map.size
                )?;
            }
        }
        for (clock, offset) in &self.time_offsets {
            writeln!(f, "      shift {clock} by {}.{:09} s", offset.secs, offset.nanosecs)?;
        }
        numbered(f, "after clone, on the host", &self.after_clone)?;
        numbered(f, "in the container", &self.steps)?;
        for (moment, hooks) in [("poststart", &self.hooks.poststart), ("poststop", &self.hooks.poststop)] {
            if !hooks.is_empty() {
                writeln!(f, "later: run {} ({moment})", hook_count(hooks.len()))?;
            }
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

impl Plan {
    /// The line of the clone.
    pub fn birth(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            let created: Vec<_> = self.create.iter().map(|kind| kind.name()).collect();
            let created = if created.is_empty() { "none".into() } else { created.join(" ") };
            write!(f, "clone with new namespaces: {created}")
        })
    }
}

fn numbered<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, lines: &[T]) -> fmt::Result {
    if !lines.is_empty() {
        writeln!(f, "{title}")?;
    }
    lines.iter().enumerate().try_for_each(|(index, line)| writeln!(f, "{:4}  {line}", index + 1))
}

impl fmt::Display for Step {
    #[expect(clippy::too_many_lines, reason = "a flat match: one arm for each kind of step")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinKeyring { name, .. } => write!(f, "join a new session keyring {name}"),
            Self::RaiseLoopback => f.write_str("bring the loopback interface up"),
            Self::IsolateMounts { propagation } => write!(f, "make all mounts {propagation}"),
            Self::BindRoot { rootfs, parent } => {
                let parent = Propagation { kind: *parent, recursive: false };
                write!(f, "bind {rootfs} onto itself, its parent mount {parent}")
            }
            Self::AttachRoot { rootfs, index } => {
                write!(f, "attach {rootfs} (opened as #{index}) onto itself on the host, private")
            }
            Self::Mount(mount) => mount.fmt(f),
            Self::Unmount { path } => write!(f, "unmount {path}"),
            Self::Device(node) => write!(
                f,
                "{} device {} {}:{} mode {:04o} owner {}:{}",
                if node.bind { "bind" } else { "make" },
                node.path,
                node.major,
                node.minor,
                node.mode,
                node.uid,
                node.gid
            ),
            Self::Symlink { path, target } => write!(f, "link {path} to {target}"),
            Self::LinkPtmx => f.write_str("link /dev/ptmx to pts/ptmx"),
            Self::Ask(question) => question.fmt(f),
            Self::Hooks { moment, hooks } => write!(f, "run {} ({})", hook_count(hooks.len()), moment),
            Self::EnterRoot { method } => f.write_str(match method {
                EnterRoot::Pivot => "pivot into the root",
                EnterRoot::Move => "move the root over / and chroot",
                EnterRoot::Chroot => "chroot into the root",
            }),
            Self::PropagateRoot { propagation } => write!(f, "make / {propagation}"),
            Self::ReopenDevNull => f.write_str("reopen standard descriptors that are the host's /dev/null"),
            Self::MakeWorkingDirectory { path } => write!(f, "make directory {path} if it is missing"),
            Self::Console { width, height, .. } => write!(f, "open a console of {width}x{height}"),
            Self::RemountReadonly { path, .. } => write!(f, "make {path} read-only"),
            Self::RemountRootReadonly => f.write_str("make / read-only"),
            Self::SetUmask { mask } => write!(f, "set the umask to {mask:04o}"),
            Self::SetHostname { name } => write!(f, "set the hostname to {name}"),
            Self::SetDomainname { name } => write!(f, "set the domain name to {name}"),
            Self::ApparmorProfile { profile } => write!(f, "apply AppArmor profile {profile} on exec"),
            Self::Sysctl { key, value } => write!(f, "set sysctl {key} to {value}"),
            Self::ReadonlyPath { path } => write!(f, "make {path} read-only"),
            Self::MaskPaths { paths, .. } => write!(f, "mask {}", paths.join(" ")),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::Scheduler(scheduler) => write!(f, "set the scheduler to {}", word(&scheduler.policy)),
            Self::IoPriority(priority) => {
                write!(f, "set the I/O priority to {} {}", word(&priority.class), priority.priority)
            }
            Self::Personality { domain } => write!(f, "set the personality to {}", word(domain)),
            Self::MemoryPolicy(policy) => {
                write!(f, "set the memory policy to {}", word(&policy.mode))?;
                words(f, policy.flags.iter().map(word))?;
                if policy.nodes.is_empty() { Ok(()) } else { write!(f, " on nodes {}", policy.nodes) }
            }
            Self::Rlimits { limits } => rlimits(f, limits),
            Self::LabelMount { path, label } => write!(f, "apply SELinux label {label} to {path}"),
            Self::SelinuxLabel { label } => write!(f, "apply SELinux label {label} on exec"),
            Self::Seccomp(seccomp) => {
                write!(f, "load a seccomp filter of {} instructions", seccomp.filter.program.len())?;
                words(f, seccomp.filter.flag_words().map(String::from))?;
                seccomp
                    .listener
                    .as_ref()
                    .map_or(Ok(()), |listener| write!(f, ", notifying {}", listener.path))
            }
            Self::CloseDescriptorsFrom { first } => write!(f, "close descriptors from {first} on exec"),
            Self::EnterWorkingDirectory { path } => write!(f, "enter directory {path}"),
            Self::DropBoundingSet { keep } => write!(f, "drop the bounding set to {keep}"),
            Self::SetUser { uid, gid, groups } => {
                write!(f, "become user {uid}:{gid}")?;
                match groups {
                    AdditionalGroups::Set(gids) if gids.is_empty() => f.write_str(" with no other groups"),
                    AdditionalGroups::Set(gids) => {
                        f.write_str(" with groups")?;
                        words(f, gids.iter().map(u32::to_string))
                    }
                    AdditionalGroups::Keep => f.write_str(" keeping groups"),
                }
            }
            Self::RetryWorkingDirectory { path } => write!(f, "enter {path} as the user, if root may not"),
            Self::SetCapabilities(sets) => write!(
                f,
                "set capabilities: effective {}; permitted {}; inheritable {}; ambient {}",
                sets.effective, sets.permitted, sets.inheritable, sets.ambient
            ),
            Self::DefaultHome { uid } => write!(f, "set HOME to that of user {uid}"),
            Self::FindProgram { name } => write!(f, "find program {name}"),
            Self::AwaitStart => f.write_str("wait for start"),
            Self::Execute { args, sockets: 0, .. } => write!(f, "execute {}", args.join(" ")),
            Self::Execute { args, sockets, .. } => {
                write!(f, "execute {} with {sockets} listening sockets", args.join(" "))
            }
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.remount {
            write!(f, "remount {}", self.target)?;
        } else {
            write!(f, "{} at {}", self.source, self.target)?;
        }
        let mut words = attribute_words(self);
        words.extend(self.propagation.iter().map(ToString::to_string));
        if let MountSource::Filesystem { options, .. } | MountSource::Cgroup2 { options, .. } = &self.source {
            let own = options.iter().filter(|(key, value)| key != "ro" || value.is_some());
            words.extend(own.map(|(key, value)| match value {
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            }));
        }
        if self.copy_up {
            words.push("copy up".into());
        }
        if words.is_empty() { Ok(()) } else { write!(f, " ({})", words.join(",")) }
    }
}

impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem { kind, .. } => write!(f, "mount {kind}"),
            Self::Bind { path, recursive: false } => write!(f, "bind {path}"),
            Self::Bind { path, recursive: true } => write!(f, "bind {path} and all below"),
            Self::CgroupBind { path, .. } => write!(f, "bind {path} and all below"),
            Self::Answered { path } => write!(f, "attach {path} (opened by the parent)"),
            Self::Opened { index, path } => write!(f, "attach {path} (opened as #{index})"),
            Self::Cgroup2 { fallback, .. } => write!(f, "mount cgroup2 (or bind {fallback})"),
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recursive {
            f.write_str("r")?;
        }
        f.write_str(match self.kind {
            PropagationKind::Private => "private",
            PropagationKind::Slave => "slave",
            PropagationKind::Shared => "shared",
            PropagationKind::Unbindable => "unbindable",
        })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuntimeHooks { prestart, create_runtime } => write!(
                f,
                "ask the parent to run {} (prestart) and {} (createRuntime)",
                hook_count(prestart.len()),
                hook_count(create_runtime.len())
            ),
            Self::Rlimits { limits } => {
                f.write_str("ask the parent to ")?;
                rlimits(f, limits)
            }
            Self::OpenSource(source) => write!(f, "ask the parent to {source}"),
        }
    }
}

impl fmt::Display for HookMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
        })
    }
}

impl fmt::Display for BeforeClone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenSource(source) => source.fmt(f),
            Self::SetAffinity { cpus } => write!(f, "run on CPUs {cpus}"),
        }
    }
}

impl fmt::Display for OpenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open {}", self.source)?;
        if self.recursive {
            f.write_str(" and all below")?;
        }
        if self.idmap.is_some() { f.write_str(" with mapped ids") } else { Ok(()) }
    }
}

impl fmt::Display for AfterClone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteIdMaps => f.write_str("write the id maps"),
            Self::EnterCgroup => f.write_str("enter the cgroup"),
            Self::EnterResctrl => f.write_str("enter the resctrl group"),
            Self::AdjustOomScore { value } => write!(f, "set oom_score_adj to {value}"),
            Self::SetAffinity { cpus } => write!(f, "let it run on CPUs {cpus}"),
            Self::FreeAffinity => f.write_str("let it run on all CPUs of its cgroup"),
            Self::MoveNetDevice { host_name, name } if host_name == name => {
                write!(f, "move network device {name}")
            }
            Self::MoveNetDevice { host_name, name } => write!(f, "move network device {host_name} as {name}"),
        }
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names().collect::<Vec<_>>() {
            names if names.is_empty() => f.write_str("none"),
            names => f.write_str(&names.join(" ")),
        }
    }
}

/// A word of the specification, such as `SCHED_BATCH`.
fn word(value: &impl Serialize) -> String {
    json::write(value).unwrap_or_default().trim_matches('"').to_owned()
}

fn words(f: &mut fmt::Formatter<'_>, words: impl Iterator<Item = String>) -> fmt::Result {
    words.into_iter().try_for_each(|word| write!(f, " {word}"))
}

fn word_of_limit(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { limit.to_string() }
}

fn hook_count(count: usize) -> String {
    if count == 1 { "1 hook".into() } else { format!("{count} hooks") }
}

fn rlimits(f: &mut fmt::Formatter<'_>, limits: &[conex_spec::runtime::Rlimit]) -> fmt::Result {
    f.write_str("set limits")?;
    for limit in limits {
        write!(f, " {}={}:{}", word(&limit.kind), word_of_limit(limit.soft), word_of_limit(limit.hard))?;
    }
    Ok(())
}
