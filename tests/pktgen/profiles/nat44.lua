-- What nat44.toml sends, for DPDK's Pktgen: 64,512 UDP flows through SNAT. Started as
--
--   pktgen -l 0-2 -n 4 -- -P -m "1.0,2.1" -f nat44.lua
--
-- with port 0 at the inside of the appliance and port 1 at its outside. Pktgen counts up every field
-- with each packet, so that 63 addresses and 1,024 ports, having no common divisor, make 64,512
-- flows. It does not answer ARP for many addresses: give it the appliance's MAC addresses here, and
-- the appliance a host for every next hop.
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua"
require "Pktgen"

local inside, outside = "0", "1"
local appliance = "02:00:00:00:00:01" -- MAC address of the appliance's inside port
local seconds = 10

local function range(field, first, last, step)
    field(inside, "start", first)
    field(inside, "min", first)
    field(inside, "max", last)
    field(inside, "inc", step)
end

pktgen.set_ipaddr(outside, "src", "198.51.100.10/24")
pktgen.set_proto(inside, "udp")
pktgen.range.ip_proto(inside, "udp")
range(pktgen.range.dst_mac, appliance, appliance, "00:00:00:00:00:00")
range(pktgen.range.src_ip, "10.0.0.2", "10.0.0.64", "0.0.0.1")
range(pktgen.range.dst_ip, "198.51.100.10", "198.51.100.10", "0.0.0.0")
range(pktgen.range.src_port, 1024, 2047, 1)
range(pktgen.range.dst_port, 53, 53, 0)
range(pktgen.range.pkt_size, 64, 64, 0)
pktgen.set_range(inside, "on")
pktgen.set(inside, "rate", 100)

-- Once round all flows slowly, then what is measured.
pktgen.set(inside, "count", 64512)
pktgen.set(inside, "rate", 1)
pktgen.start(inside)
pktgen.delay(3000)
pktgen.set(inside, "count", 0)
pktgen.set(inside, "rate", 100)
pktgen.clr()
pktgen.start(inside)
pktgen.delay(seconds * 1000)
pktgen.stop(inside)
pktgen.delay(500)

local sent = pktgen.portStats(inside, "port")[0].opackets
local received = pktgen.portStats(outside, "port")[1].ipackets
printf("sent %.0f/s, received %.0f/s, lost %d\n", sent / seconds, received / seconds, sent - received)
pktgen.quit()
