"""What tcp.toml does, for TRex in ASTF mode: connections with a request and a response.

    ./t-rex-64 -i --astf -c 1
    trex> start -f tcp_trex.py -m 1000        (a thousand connections a second)

ASTF's clients and servers are on ports 0 and 1, configured as for nat44_trex.py. SNAT changes what
TRex shares connections between its cores by, so let it use one core (-c 1).
"""

from trex.astf.api import *

REQUEST = b"q" * 100
RESPONSE = b"r" * 1000


class Tcp:
    def get_profile(self, **kwargs):
        client = ASTFProgram()
        client.send(REQUEST)
        client.recv(len(RESPONSE))
        server = ASTFProgram()
        server.recv(len(REQUEST))
        server.send(RESPONSE)
        addresses = ASTFIPGen(
            glob=ASTFIPGenGlobal(ip_offset="0.0.0.0"),
            dist_client=ASTFIPGenDist(ip_range=["10.0.0.2", "10.0.0.64"], distribution="seq"),
            dist_server=ASTFIPGenDist(
                ip_range=["198.51.100.10", "198.51.100.10"], distribution="seq"
            ),
        )
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(
                program=client, ip_gen=addresses, port=80, cps=1
            ),
            server_template=ASTFTCPServerTemplate(
                program=server, assoc=ASTFAssociationRule(port=80)
            ),
        )
        return ASTFProfile(default_ip_gen=addresses, templates=template)


def register():
    return Tcp()
