/*
 * What DPDK has as static inline functions or as macros that bindgen cannot evaluate. Functions of
 * the data path take a burst, never a packet.
 */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_hash.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_pdump.h>
#include <rte_telemetry.h>
#include <rte_version.h>

/* Where the fields of struct rte_mbuf are, in bytes from its start. */
enum {
	SLUICE_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	SLUICE_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	SLUICE_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	SLUICE_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	SLUICE_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	SLUICE_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	SLUICE_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	SLUICE_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci),
	SLUICE_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	SLUICE_MBUF_RSS_HASH = offsetof(struct rte_mbuf, hash.rss),
};

/* Flags of received mbufs. */
static const uint64_t SLUICE_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t SLUICE_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SLUICE_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SLUICE_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SLUICE_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;

/* What a device can do to received frames. */
static const uint64_t SLUICE_OFFLOAD_RX_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
static const uint64_t SLUICE_OFFLOAD_RX_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SLUICE_OFFLOAD_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SLUICE_OFFLOAD_RX_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SLUICE_OFFLOAD_TX_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint64_t SLUICE_OFFLOAD_TX_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

/* What a device can hash. */
static const uint64_t SLUICE_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t SLUICE_RSS_FRAG_IPV4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t SLUICE_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SLUICE_RSS_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t SLUICE_RSS_IPV4_OTHER = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t SLUICE_RSS_IPV6 = RTE_ETH_RSS_IPV6;
static const uint64_t SLUICE_RSS_FRAG_IPV6 = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t SLUICE_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t SLUICE_RSS_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint64_t SLUICE_RSS_IPV6_OTHER = RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
static const uint64_t SLUICE_RSS_L3_SRC_ONLY = RTE_ETH_RSS_L3_SRC_ONLY;
static const uint64_t SLUICE_RSS_L3_DST_ONLY = RTE_ETH_RSS_L3_DST_ONLY;

/* Receives at most n frames; returns how many of mbufs were written. */
uint16_t sluice_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* Sends n frames; returns how many of the first of them the device took. */
uint16_t sluice_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* One reset mbuf, or NULL. */
struct rte_mbuf *sluice_mbuf_alloc(struct rte_mempool *pool);

/* Fills mbufs with n reset mbufs. Returns n, or 0 if the pool has not so many. */
uint16_t sluice_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint16_t n);

/* Gives an mbuf and the rest of its chain back. */
void sluice_mbuf_free(struct rte_mbuf *mbuf);

/* The state of a port's link, without waiting for it. Mbps is 0 or UINT32_MAX where unknown. */
struct sluice_link {
	uint32_t mbps;
	uint8_t up;
	uint8_t full_duplex;
};
int sluice_link_get(uint16_t port, struct sluice_link *link);

/* This thread's rte_errno. */
int sluice_errno(void);

/* Gives this thread a number among lcores that nobody else has, and with it stores of its own in every
   pool, without registering it: rte_thread_register keeps other processes from attaching. Returns -1
   if there is no such number. */
int sluice_take_lcore(unsigned int number);

/* The time stamp counter. */
uint64_t sluice_tsc(void);

/* Fills the answer to a command of the telemetry socket, by sluice_telemetry_add. Called from DPDK's
   threads; command is valid during the call. */
typedef void (*sluice_telemetry_source)(const char *command, void *answer);

/* Has source answer command, for the life of the process; there is one source for all commands.
   Returns 0 or a negative errno. */
int sluice_telemetry_register(const char *command, const char *help, sluice_telemetry_source source);

/* Adds a number to an answer. Returns 0 or a negative errno. */
int sluice_telemetry_add(void *answer, const char *name, uint64_t value);

/* Gets one message of DPDK's log, or several lines of one, not terminated. */
typedef void (*sluice_log_sink)(int level, const char *text, size_t len);

/* Sends DPDK's log to sink, for the life of the process. Returns 0, or -1 without memory. */
int sluice_log_open(sluice_log_sink sink);

#endif
