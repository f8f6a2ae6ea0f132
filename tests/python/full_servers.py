"""Five connections, all kept open, and who answers on each; then the first is closed, and new ones are
tried until its server answers again.

usage: full_servers.py VIP
"""

import socket
import sys
import time


def ask():
    s = socket.create_connection((sys.argv[1], 80), 10)
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(l.split(b":")[1]) for l in lines if l.startswith(b"content-length"))
    while len(body) < length:
        body += s.recv(4096)
    return s, body.decode().strip()

held = [ask() for _ in range(5)]
names = [name for _, name in held]
held[0][0].close()
end = time.monotonic() + 20
while True:
    s, name = ask()
    if name == names[0]:
        break
    s.close()
    assert time.monotonic() < end, name
print(" ".join(names + [name]))
