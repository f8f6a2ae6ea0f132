"""The client of idle_server.py: says nothing for longer than an idle session lives.

usage: idle_client.py VIP
"""

import socket
import sys
import time


def connect(port):
    end = time.monotonic() + 20
    while True:
        try:
            s = socket.create_connection((sys.argv[1], port), 10)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
    s.settimeout(30)
    s.sendall(b"hello")
    assert s.recv(5) == b"hello"
    return s

probed = connect(81)
since = time.monotonic()
try:
    print("80 read", connect(80).recv(1))
except ConnectionResetError:
    print("80 reset")
probed.settimeout(since + 13 - time.monotonic())
try:
    print("81 read", probed.recv(1))
except TimeoutError:
    probed.settimeout(30)
    probed.sendall(b"still")
    print("81", probed.recv(5).decode())
