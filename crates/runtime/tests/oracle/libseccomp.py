# SPDX-License-Identifier: Apache-2.0
"""What libseccomp makes of a profile, for comparison: JSON on standard input; on standard output a line with the
names that libseccomp does not know, then one line `code jt jf k` for each instruction.

Rules are added as OCI runtimes add them: those that repeat the default are left out, and comparisons that name one
argument twice become rules of their own."""

import ctypes
import json
import struct
import sys
import tempfile

ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
}
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
UNKNOWN = -1


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def action(name, errno):
    value = ACTIONS[name]
    return value | (1 if errno is None else errno) if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else value


def main():
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]

    profile = json.load(sys.stdin)
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    for name in profile.get("architectures") or []:
        library.seccomp_arch_add(context, ARCHITECTURES[name])
    unknown = []
    for rule in profile.get("syscalls") or []:
        value = action(rule["action"], rule.get("errnoRet"))
        comparisons = [
            Comparison(one["index"], OPERATORS.index(one["op"][len("SCMP_CMP_"):]) + 1, one.get("value", 0), one.get("valueTwo", 0))
            for one in rule.get("args") or []]
        repeats = len({one.arg for one in comparisons}) < len(comparisons)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                unknown.append(name)
                continue
            for group in [[one] for one in comparisons] if repeats else [comparisons]:
                array = (Comparison * len(group))(*group)
                if value != default and library.seccomp_rule_add_array(context, value, number, len(group), array):
                    sys.exit(f"seccomp_rule_add({name}) failed")
    with tempfile.TemporaryFile() as file:
        if library.seccomp_export_bpf(context, file.fileno()):
            sys.exit("seccomp_export_bpf failed")
        file.seek(0)
        program = file.read()
    print(json.dumps(unknown))
    for instruction in struct.iter_unpack("=HBBI", program):
        print(*instruction)


main()
