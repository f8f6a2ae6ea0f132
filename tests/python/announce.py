"""Announces an address with the interface's present MAC address (RFC 5227).

usage: announce.py INTERFACE ADDRESS
"""

import sys

from scapy.all import ARP, Ether, get_if_hwaddr, sendp

interface, address = sys.argv[1:]
mac = get_if_hwaddr(interface)
announcement = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
    op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address
)
sendp([announcement] * 3, iface=interface, inter=0.2, verbose=False)
