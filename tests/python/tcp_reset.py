"""Listens to a TCP connection of this host and forges resets with sequence numbers inside the
server's window, but not at its edge; sends each several times.

usage: tcp_reset.py INTERFACE GATEWAY SERVER PORT CLIENT_PORT
"""

import sys

from scapy.all import IP, TCP, Ether, conf, getmacbyip, sendp, sniff

interface, gateway, server, port, client_port = sys.argv[1:]
conf.iface = interface
mac = getmacbyip(gateway)


def ours(packet):
    return (
        IP in packet
        and TCP in packet
        and packet[IP].dst == server
        and packet[TCP].sport == int(client_port)
        and packet[TCP].dport == int(port)
    )


heard = sniff(iface=interface, lfilter=ours, count=1, timeout=10)
assert heard, "the connection is silent"
segment = heard[0]
resets = [
    Ether(dst=mac)
    / IP(src=segment[IP].src, dst=server)
    / TCP(
        sport=int(client_port),
        dport=int(port),
        flags="R",
        seq=(segment[TCP].seq + offset) % 2**32,
    )
    for offset in (1, 7, 100, 1000, 10000)
]
sendp(resets * 3, iface=interface, verbose=False)
