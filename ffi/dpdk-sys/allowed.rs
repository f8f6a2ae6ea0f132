// What of DPDK is bound, as regular expressions: what `sluice-dpdk` uses, and no more.

/// Functions that libdpdk or `shim.c` exports.
pub const FUNCTIONS: &[&str] = &[
    // The shim's.
    "sluice_.*",
    // The environment.
    "rte_eal_init",
    "rte_version",
    "rte_strerror",
    "rte_log_set_global_level",
    "rte_get_tsc_hz",
    "rte_thread_register",
    "rte_thread_unregister",
    // For DPDK's own tools.
    "rte_pdump_init",
    // Memory.
    "rte_zmalloc_socket",
    "rte_malloc_get_socket_stats",
    "rte_socket_count",
    "rte_socket_id_by_idx",
    // Buffers.
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_free_bulk",
    "rte_mbuf_check",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_mempool_lookup",
    // The hash table that ours is compared with.
    "rte_hash_create",
    "rte_hash_free",
    "rte_hash_add_key",
    "rte_hash_lookup_bulk",
    // Devices.
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_dev_name",
    "rte_eth_find_next",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_configure",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_set_link_up",
    "rte_eth_dev_set_link_down",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_rss_reta_query",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_(enable|disable)",
    "rte_eth_allmulticast_(enable|disable)",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
];

/// Macros, enum values and the shim's constants.
pub const CONSTANTS: &[&str] = &[
    "SLUICE_.*",
    "RTE_ETH_MQ_RX_(NONE|RSS)",
    "RTE_ETH_RETA_GROUP_SIZE",
    "RTE_ETHER_ADDR_LEN",
    "RTE_ETH_XSTATS_NAME_SIZE",
    "RTE_LOG_(EMERG|ALERT|CRIT|ERR|WARNING|NOTICE|INFO|DEBUG)",
    "RTE_HASH_(LOOKUP_BULK_MAX|NAMESIZE)",
    "RTE_MAX_ETHPORTS",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PKTMBUF_HEADROOM",
    "SOCKET_ID_ANY",
];

/// Types whose insides bindgen cannot express or that nobody here looks into. The layout of
/// `rte_mbuf` moved its fields into unnamed unions with 24.11, so it is read by the offsets that
/// `shim.h` exports.
pub const OPAQUE: &[&str] = &[
    "rte_mbuf",
    "rte_mempool",
    "rte_arp_.*",
    "rte_l2tpv2_.*",
    "rte_gtp_.*",
    "rte_eth_vmdq_.*",
    "rte_eth_dcb_.*",
];
