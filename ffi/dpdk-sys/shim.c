#define _GNU_SOURCE
#include "shim.h"

#include <stdio.h>

uint16_t sluice_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t sluice_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

struct rte_mbuf *sluice_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

uint16_t sluice_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, n) == 0 ? n : 0;
}

void sluice_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int sluice_link_get(uint16_t port, struct sluice_link *link)
{
	struct rte_eth_link state = { 0 };
	int error = rte_eth_link_get_nowait(port, &state);

	link->mbps = state.link_speed;
	link->up = state.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = state.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return error;
}

int sluice_errno(void)
{
	return rte_errno;
}

int sluice_take_lcore(unsigned int number)
{
	if (number >= RTE_MAX_LCORE)
		return -1;
	RTE_PER_LCORE(_lcore_id) = number;
	return 0;
}

uint64_t sluice_tsc(void)
{
	return rte_rdtsc();
}

static sluice_telemetry_source telemetry_source;

static int telemetry_answer(const char *command, const char *params, struct rte_tel_data *answer)
{
	(void)params;
	rte_tel_data_start_dict(answer);
	telemetry_source(command, answer);
	return 0;
}

int sluice_telemetry_register(const char *command, const char *help, sluice_telemetry_source source)
{
	telemetry_source = source;
	return rte_telemetry_register_cmd(command, telemetry_answer, help);
}

int sluice_telemetry_add(void *answer, const char *name, uint64_t value)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	return rte_tel_data_add_dict_uint(answer, name, value);
#else
	return rte_tel_data_add_dict_u64(answer, name, value);
#endif
}

static ssize_t log_write(void *cookie, const char *text, size_t len)
{
	sluice_log_sink sink = *(sluice_log_sink *)cookie;

	sink(rte_log_cur_msg_loglevel(), text, len);
	return (ssize_t)len;
}

int sluice_log_open(sluice_log_sink sink)
{
	static sluice_log_sink kept;
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream;

	kept = sink;
	stream = fopencookie(&kept, "w", functions);
	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}
