"""A switch with one trunk port and untagged access ports.

usage: trunk.py TRUNK ACCESS=VLAN...

A kernel takes the tag out of a received frame and tells it aside (PACKET_AUXDATA).
"""

import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
TP_STATUS_VLAN_VALID = 1 << 4
ETH_P_ALL = 3


def port(name):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((name, ETH_P_ALL))
    return wire


def receive(wire):
    """The frame without its tag, and the VLAN (None: untagged); or nothing for our own frames."""
    frame, ancillary, _, address = wire.recvmsg(65536, 256)
    if address[2] == PACKET_OUTGOING:
        return None, None
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return frame, tci & 0xFFF
    return frame, None


trunk = port(sys.argv[1])
access = {}
for argument in sys.argv[2:]:
    name, vlan = argument.split("=")
    access[int(vlan)] = port(name)
vlans = {wire: vlan for vlan, wire in access.items()}

while True:
    for wire in select.select([trunk, *vlans], [], [])[0]:
        frame, vlan = receive(wire)
        if frame is None:
            continue
        if wire is trunk:
            if vlan in access:
                access[vlan].send(frame)
        elif vlan is None:
            trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlans[wire]) + frame[12:])
