"""What nat44.toml sends, for TRex in stateless mode: 64,512 UDP flows through SNAT.

    ./t-rex-64 -i
    trex> service --port 0 1 ; arp ; service --off --port 0 1
    trex> start -f nat44_trex.py -p 0 -m 100%

Port 0 is at the inside of the appliance (its address 10.0.0.254, gateway 10.0.0.1 in the `port_info`
of trex_cfg.yaml), port 1 at its outside (198.51.100.10, gateway 198.51.100.1). TRex answers ARP for
these two addresses; 10.0.0.2 to 10.0.0.64 only send, so replies to them need a static neighbour, or
port 0's address as next hop of a route.
"""

from trex.stl.api import *


class Nat44:
    def get_streams(self, direction=0, size=64, **kwargs):
        packet = Ether() / IP(src="10.0.0.2", dst="198.51.100.10") / UDP(sport=1024, dport=53)
        packet /= b"x" * max(0, size - 4 - len(packet))
        flows = STLVM()
        flows.tuple_var(
            name="flow", ip_min="10.0.0.2", ip_max="10.0.0.64", port_min=1024, port_max=2047
        )
        flows.write(fv_name="flow.ip", pkt_offset="IP.src")
        flows.write(fv_name="flow.port", pkt_offset="UDP.sport")
        flows.fix_chksum()
        return [STLStream(packet=STLPktBuilder(pkt=packet, vm=flows), mode=STLTXCont())]


def register():
    return Nat44()
