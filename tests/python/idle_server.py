"""Echoes on two ports, a connection on each, and tells how each ends.

usage: idle_server.py
"""

import socket
import threading


def serve(port):
    listener = socket.create_server(("", port))
    s, _ = listener.accept()
    try:
        while data := s.recv(4096):
            s.sendall(data)
        print(port, "closed")
    except ConnectionResetError:
        print(port, "reset")

threads = [threading.Thread(target=serve, args=(port,)) for port in (80, 81)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
