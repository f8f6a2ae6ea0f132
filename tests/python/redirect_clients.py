"""Clients of a virtual server that redirects, as kernels and Python's HTTP library have them.

usage: redirect_clients.py VIP LOCATION

Prints what each met. Between "ready" and a line on standard input, the server may come back.
"""

import http.client
import socket
import sys
import time

vip, location = sys.argv[1:]
ASK = b"GET /page HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


def connect():
    client = socket.create_connection((vip, 80), timeout=5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def everything(client):
    """All that the server says, which must not take long."""
    begun, said = time.monotonic(), b""
    while data := client.recv(65536):
        said += data
    assert time.monotonic() - begun < 1, said
    return said


def check(said):
    assert said.startswith(b"HTTP/1.1 302 Found\r\n"), said
    assert b"\r\nLocation: %s\r\n" % location.encode() in said, said
    assert said.endswith(b"\r\n\r\n"), said


# Header and body in segments of their own, at once.
poster = http.client.HTTPConnection(vip, 80, timeout=5)
poster.request("POST", "/page", body=b"x" * 100)
answer = poster.getresponse()
assert (answer.status, answer.getheader("Location")) == (302, location), answer.headers
assert answer.read() == b""
print("post", answer.status)

# A body that is larger than what is read of it.
poster = http.client.HTTPConnection(vip, 80, timeout=5)
poster.request("PUT", "/page", body=b"x" * 20_000)
print("put", poster.getresponse().status)

# Its client has nothing more to say, and says so at once.
client = connect()
client.sendall(ASK)
client.shutdown(socket.SHUT_WR)
check(everything(client))
print("half closed")

# A request by pieces.
client = connect()
client.sendall(ASK[:2])
time.sleep(0.05)
client.sendall(ASK[2:])
check(everything(client))
print("in pieces")

# No request.
client = connect()
client.shutdown(socket.SHUT_WR)
assert everything(client) == b""
print("nothing asked")

# Something else.
client = connect()
client.sendall(b"\x16\x03\x01\x00\x05hello")
try:
    print("other", everything(client))
except ConnectionResetError:
    print("other reset")

waiting = [connect() for _ in range(20)]
print("ready", flush=True)
sys.stdin.readline()
for client in waiting:
    client.sendall(ASK)
for client in waiting:
    check(everything(client))
print("after all", len(waiting))
