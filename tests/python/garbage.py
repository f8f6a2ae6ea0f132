"""Floods the gateway with frames that are random, damaged, cut, or strange. Prints how many.

usage: garbage.py INTERFACE GATEWAY VIP NAT_ADDRESS COUNT
"""

import random
import socket
import sys

from scapy.all import (
    ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6ND_NS, IPv6, IPv6ExtHdrFragment,
    IPv6ExtHdrRouting, Raw, conf, fuzz, get_if_hwaddr, getmacbyip,
)

interface, gateway, vip, nat, count = sys.argv[1:]
count = int(count)
random.seed(20_260)
conf.iface = interface
us, them = get_if_hwaddr(interface), getmacbyip(gateway)
ether = Ether(src=us, dst=them)
inner = IP(src=nat, dst="198.51.100.10") / UDP(sport=1, dport=2) / Raw(b"x" * 8)

templates = [
    ether / IP(dst=vip) / TCP(dport=80, flags="S", options=[("MSS", 1460)]),
    ether / IP(dst=vip) / TCP(dport=80, flags="SFRPAU"),
    ether / IP(dst=vip, flags="MF") / UDP(dport=80) / Raw(b"x" * 64),
    ether / IP(dst=vip, frag=100) / Raw(b"x" * 64),
    ether / IP(dst=vip, frag=8191) / Raw(b"x" * 64),
    ether / IP(dst=nat, options=b"\x07\x07\x04\x00\x00\x00\x00\x00") / UDP(dport=1) / Raw(b"y" * 9),
    ether / IP(dst=nat) / ICMP(type=3, code=4, nexthopmtu=0) / inner,
    ether / IP(dst=nat) / ICMP(type=11) / inner,
    ether / IP(dst=nat) / ICMP(type=5) / inner,
    ether / IP(dst=vip, proto=132) / Raw(b"sctp?" * 4),
    ether / IP(dst=vip, proto=47) / Raw(b"gre??" * 4),
    ether / IP(dst=vip, ttl=1) / UDP(dport=80),
    ether / IP(src=vip, dst=vip) / TCP(dport=80),
    ether / IP(src="127.0.0.1", dst=vip) / TCP(dport=80),
    ether / IP(src="255.255.255.255", dst=vip) / UDP(dport=80),
    ether / ARP(op=2, hwsrc=us, psrc=gateway, pdst=gateway),
    ether / ARP(op=7, hwlen=3, plen=200),
    ether / IPv6(src="2001:db8:51::66", dst="2001:db8:51::1") / IPv6ExtHdrRouting(addresses=["::1"]),
    ether / IPv6(dst="2001:db8:51::1") / IPv6ExtHdrFragment(offset=1, m=1) / Raw(b"z" * 64),
    ether / IPv6(dst="2001:db8:51::1", hlim=255) / ICMPv6ND_NA(tgt="2001:db8:51::1", R=1, S=1, O=1),
    ether / IPv6(dst="ff02::1", hlim=3) / ICMPv6ND_NS(tgt="2001:db8:51::1"),
    ether / Dot1Q(vlan=77) / IP(dst=vip) / TCP(dport=80),
    ether / Dot1Q(vlan=77) / Dot1Q(vlan=78) / IP(dst=vip) / TCP(dport=80),
    Ether(src=us, dst="02:00:00:00:00:99") / IP(dst=vip) / TCP(dport=80),
    Ether(src=us, dst="ff:ff:ff:ff:ff:ff") / IP(dst=vip) / TCP(dport=80),
]
whole = [bytes(template) for template in templates]
# Well-formed headers with random fields, checksums right.
whole += [bytes(ether / IP(dst=vip) / fuzz(TCP())) for _ in range(100)]
whole += [bytes(ether / IP(dst=nat) / fuzz(ICMP())) for _ in range(100)]
whole += [bytes(ether / fuzz(ARP(hwlen=6, plen=4))) for _ in range(100)]


def damaged():
    frame = bytearray(random.choice(whole))
    kind = random.randrange(4)
    if kind == 0:
        for _ in range(random.randrange(1, 6)):
            frame[random.randrange(12, len(frame))] ^= 1 << random.randrange(8)
    elif kind == 1:
        del frame[random.randrange(14, len(frame)):]
    elif kind == 2:
        frame += random.randbytes(random.randrange(1, 200))
    else:
        frame[14:] = random.randbytes(random.randrange(0, 1486))
    return bytes(frame[:1514])


wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((interface, 0))
sent = 0
for number in range(count):
    frame = whole[number % len(whole)] if number % 3 == 0 else damaged()
    wire.send(frame)
    sent += 1
print(sent)
