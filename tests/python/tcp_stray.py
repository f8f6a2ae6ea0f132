"""Sends a TCP segment that belongs to no session, and says what came back: silence or reset.

usage: tcp_stray.py INTERFACE GATEWAY SERVER PORT [DATA]
"""

import sys

from scapy.all import IP, TCP, Ether, Raw, conf, getmacbyip, srp1

interface, gateway, server, port, *data = sys.argv[1:]
conf.iface = interface
segment = (
    Ether(dst=getmacbyip(gateway))
    / IP(dst=server)
    / TCP(sport=54321, dport=int(port), flags="A", seq=1000, ack=777)
)
if data:
    segment /= Raw(data[0].encode())
answer = srp1(segment, iface=interface, timeout=3, verbose=False)
if answer is None:
    print("silence")
elif TCP in answer and "R" in answer[TCP].flags:
    # RFC 9293 3.10.7.1: the reset takes its sequence number from the segment's acknowledgement.
    assert answer[TCP].seq == 777, answer.summary()
    print("reset")
else:
    print(answer.summary())
