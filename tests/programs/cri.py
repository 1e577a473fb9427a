# SPDX-License-Identifier: Apache-2.0
"""One call of Kubernetes' Container Runtime Interface, as a kubelet makes it: `cri.py SOCKET METHOD JSON`.

Prints the answer as JSON; an error goes to standard error with exit code 1. Only the messages that the tests use are
described here, by the names and numbers of k8s.io/cri-api v1 (api.proto).
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PACKAGE = "runtime.v1"
# message: "name number type", where a type is a scalar, a message, or either with "*" for a list.
MESSAGES = {
    "Value": ["value 1 int64"],
    "UnsignedValue": ["value 1 uint64"],
    "KeyValue": ["key 1 string", "value 2 string"],
    "NamespaceOption": ["network 1 int32", "pid 2 int32", "ipc 3 int32", "target_id 4 string"],
    "PodSandboxMetadata": ["name 1 string", "uid 2 string", "namespace 3 string", "attempt 4 uint32"],
    "LinuxSandboxSecurityContext": ["namespace_options 1 NamespaceOption"],
    "LinuxPodSandboxConfig": ["cgroup_parent 1 string", "security_context 2 LinuxSandboxSecurityContext"],
    "PodSandboxConfig": [
        "metadata 1 PodSandboxMetadata", "hostname 2 string", "log_directory 3 string", "linux 8 LinuxPodSandboxConfig",
    ],
    "RunPodSandboxRequest": ["config 1 PodSandboxConfig", "runtime_handler 2 string"],
    "RunPodSandboxResponse": ["pod_sandbox_id 1 string"],
    "StopPodSandboxRequest": ["pod_sandbox_id 1 string"],
    "StopPodSandboxResponse": [],
    "RemovePodSandboxRequest": ["pod_sandbox_id 1 string"],
    "RemovePodSandboxResponse": [],
    "ContainerMetadata": ["name 1 string", "attempt 2 uint32"],
    "ImageSpec": ["image 1 string"],
    "Mount": ["container_path 1 string", "host_path 2 string", "readonly 3 bool"],
    "Capability": ["add_capabilities 1 string*", "drop_capabilities 2 string*"],
    "LinuxContainerResources": [
        "cpu_period 1 int64", "cpu_quota 2 int64", "cpu_shares 3 int64", "memory_limit_in_bytes 4 int64",
    ],
    "LinuxContainerSecurityContext": [
        "capabilities 1 Capability", "privileged 2 bool", "namespace_options 3 NamespaceOption", "run_as_user 5 Value",
        "readonly_rootfs 7 bool", "no_new_privs 11 bool",
    ],
    "LinuxContainerConfig": [
        "resources 1 LinuxContainerResources", "security_context 2 LinuxContainerSecurityContext",
    ],
    "ContainerConfig": [
        "metadata 1 ContainerMetadata", "image 2 ImageSpec", "command 3 string*", "args 4 string*",
        "working_dir 5 string", "envs 6 KeyValue*", "mounts 7 Mount*", "log_path 11 string", "tty 14 bool",
        "linux 15 LinuxContainerConfig",
    ],
    "CreateContainerRequest": [
        "pod_sandbox_id 1 string", "config 2 ContainerConfig", "sandbox_config 3 PodSandboxConfig",
    ],
    "CreateContainerResponse": ["container_id 1 string"],
    "StartContainerRequest": ["container_id 1 string"],
    "StartContainerResponse": [],
    "StopContainerRequest": ["container_id 1 string", "timeout 2 int64"],
    "StopContainerResponse": [],
    "RemoveContainerRequest": ["container_id 1 string"],
    "RemoveContainerResponse": [],
    "ContainerStatusRequest": ["container_id 1 string"],
    "ContainerStatus": ["id 1 string", "state 3 int32", "exit_code 7 int32", "reason 10 string"],
    "ContainerStatusResponse": ["status 1 ContainerStatus"],
    "UpdateContainerResourcesRequest": ["container_id 1 string", "linux 2 LinuxContainerResources"],
    "UpdateContainerResourcesResponse": [],
    "ExecSyncRequest": ["container_id 1 string", "cmd 2 string*", "timeout 3 int64"],
    "ExecSyncResponse": ["stdout 1 string", "stderr 2 string", "exit_code 3 int32"],
    "MemoryUsage": ["timestamp 1 int64", "working_set_bytes 2 UnsignedValue"],
    "CpuUsage": ["timestamp 1 int64", "usage_core_nano_seconds 2 UnsignedValue"],
    "ContainerStats": ["cpu 2 CpuUsage", "memory 3 MemoryUsage"],
    "ContainerStatsRequest": ["container_id 1 string"],
    "ContainerStatsResponse": ["stats 1 ContainerStats"],
}


def describe():
    """The table as protobuf's own description of a file."""
    Field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="cri.proto", package=PACKAGE, syntax="proto3")
    for name, lines in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in lines:
            field, number, kind = line.split()
            label = Field.LABEL_REPEATED if kind.endswith("*") else Field.LABEL_OPTIONAL
            entry = message.field.add(name=field, number=int(number), label=label)
            kind = kind.rstrip("*")
            if kind in MESSAGES:
                entry.type, entry.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                entry.type = getattr(Field, f"TYPE_{kind.upper()}")
    return file


def main(socket, method, text):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(describe())

    def message(kind):
        found = pool.FindMessageTypeByName(f"{PACKAGE}.{method}{kind}")
        return message_factory.MessageFactory(pool).GetPrototype(found)

    request = json_format.Parse(text, message("Request")())
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        call = channel.unary_unary(
            f"/{PACKAGE}.RuntimeService/{method}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message("Response").FromString,
        )
        try:
            answer = call(request, timeout=100)
        except grpc.RpcError as error:
            sys.exit(f"{method}: {error.code().name}: {error.details()}")
    print(json_format.MessageToJson(answer, preserving_proto_field_name=True, including_default_value_fields=True))


main(*sys.argv[1:])
