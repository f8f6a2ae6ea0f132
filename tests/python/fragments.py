"""Sends one UDP datagram of 4,000 bytes in fragments of a given order.

usage: fragments.py INTERFACE GATEWAY SERVER PORT ORDER
"""

import random
import sys

from scapy.all import IP, UDP, Ether, Raw, conf, fragment, getmacbyip, sendp

interface, gateway, server, port, order = sys.argv[1:]
conf.iface = interface
conf.route.resync()
payload = bytes(at % 251 for at in range(4000))
datagram = IP(dst=server, id=random.randrange(1, 65536)) / UDP(sport=5555, dport=int(port)) / Raw(payload)
first, second, third = fragment(datagram, fragsize=1480)

if order == "reverse":
    fragments = [third, second, first]
elif order == "middle-first":
    fragments = [second, first, third]
elif order == "duplicate":
    fragments = [first, second, second, third]
elif order == "overlap":
    # Covers the second half of the first fragment with other bytes (RFC 5722, RFC 1858).
    forged = second.copy()
    forged.frag -= 740 // 8
    fragments = [first, forged, second, third]
elif order == "no-first":
    fragments = [second, third]
else:
    sys.exit(f"unknown order {order}")

ether = Ether(dst=getmacbyip(gateway))
sendp([ether / part for part in fragments], iface=interface, verbose=False)
