# SPDX-License-Identifier: Apache-2.0
"""A seccomp agent: listens on the socket of argv[1] and prints the state of each container process that a runtime
announces, one JSON document a line. Every notification of theirs is answered with the errno of argv[2].
Ends after argv[3] connections, when their processes are gone."""

import fcntl
import json
import select
import socket
import struct
import sys
import threading

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_*


def answer(descriptor, errno):
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        [(_, events)] = poll.poll()
        if not events & select.POLLIN:
            return
        notification = bytearray(80)
        try:
            fcntl.ioctl(descriptor, RECEIVE, notification)
            (identity,) = struct.unpack_from("=Q", notification)
            fcntl.ioctl(descriptor, SEND, struct.pack("=QqiI", identity, 0, -errno, 0))
        except FileNotFoundError:
            pass  # The caller was killed meanwhile.


path, errno, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen()
print("ready", flush=True)
agents = []
for _ in range(count):
    connection, _ = listener.accept()
    text, descriptors, _, _ = socket.recv_fds(connection, 65536, 4)
    state = json.loads(text)
    state["passed"] = len(descriptors)
    state["more"] = connection.recv(1).decode()  # Empty: the connection is closed after one message.
    agents.append(threading.Thread(target=answer, args=(descriptors[0], errno)))
    agents[-1].start()
    print(json.dumps(state), flush=True)
for agent in agents:
    agent.join()
