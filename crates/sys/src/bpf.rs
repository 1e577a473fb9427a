// SPDX-License-Identifier: Apache-2.0
//! bpf(2), as far as the device filter of a cgroup (v2) needs it: load, attach, detach, list.
//!
//! Every call passes a zeroed attribute of 512 bytes: kernels 6.17 to 7.1 write past shorter ones on PROG_QUERY.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::Result;
use crate::error::Call;
use crate::raw::{check, owned, show};

/// One instruction of eBPF, as the kernel lays it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const PROG_QUERY: u32 = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// `union bpf_attr`, larger than any kernel's.
#[repr(C, align(8))]
struct Attribute([u8; 512]);

impl Attribute {
    fn new() -> Self {
        Self([0; 512])
    }

    fn word(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer<T>(mut self, offset: usize, value: *const T) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }

    fn read_word(&self, offset: usize) -> u32 {
        let bytes = self.0[offset..offset + 4].try_into().expect("four bytes were asked for");
        u32::from_ne_bytes(bytes)
    }
}

fn call(command: u32, attribute: &mut Attribute) -> rustix::io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes only inside the 512 bytes whose size is passed; pointers stored inside
    // were made by this module's callers from buffers that outlive the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute.0.as_mut_ptr(), size_of::<Attribute>()) };
    check(returned)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Loads a device filter (`BPF_PROG_TYPE_CGROUP_DEVICE`).
pub fn load_device_filter(instructions: &[Instruction]) -> Result<OwnedFd> {
    let licence = c"Apache";
    let mut attribute = Attribute::new()
        .word(0, PROG_TYPE_CGROUP_DEVICE)
        .word(4, u32::try_from(instructions.len()).unwrap_or(u32::MAX))
        .pointer(8, instructions.as_ptr())
        .pointer(16, licence.as_ptr());
    call(PROG_LOAD, &mut attribute)
        .map(owned)
        .call(|| format!("bpf(PROG_LOAD, CGROUP_DEVICE, {} instructions)", instructions.len()))
}

/// Attaches a device filter to a cgroup beside others, or in the place of `replaced` at once.
pub fn attach_device_filter(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attribute =
        Attribute::new().word(0, number(cgroup)).word(4, number(program)).word(8, CGROUP_DEVICE);
    attribute = match replaced {
        Some(old) => attribute.word(12, ALLOW_MULTI | REPLACE).word(16, number(old)),
        None => attribute.word(12, ALLOW_MULTI),
    };
    call(PROG_ATTACH, &mut attribute).map(drop).call(|| format!("bpf(PROG_ATTACH, {})", show(&cgroup)))
}

/// Takes a device filter off a cgroup.
pub fn detach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attribute =
        Attribute::new().word(0, number(cgroup)).word(4, number(program)).word(8, CGROUP_DEVICE);
    call(PROG_DETACH, &mut attribute).map(drop).call(|| format!("bpf(PROG_DETACH, {})", show(&cgroup)))
}

/// The device filters attached to this very cgroup.
pub fn device_filters(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; 64];
    let mut attribute = Attribute::new()
        .word(0, number(cgroup))
        .word(4, CGROUP_DEVICE)
        .pointer(16, ids.as_mut_ptr())
        .word(24, u32::try_from(ids.len()).expect("a small array"));
    call(PROG_QUERY, &mut attribute).call(|| format!("bpf(PROG_QUERY, {})", show(&cgroup)))?;
    let count = usize::try_from(attribute.read_word(24)).unwrap_or_default().min(ids.len());
    ids[..count]
        .iter()
        .map(|id| {
            let mut attribute = Attribute::new().word(0, *id);
            call(PROG_GET_FD_BY_ID, &mut attribute)
                .map(owned)
                .call(|| format!("bpf(PROG_GET_FD_BY_ID, {id})"))
        })
        .collect()
}
