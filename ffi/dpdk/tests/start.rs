//! How DPDK starts on huge pages, or says why not. A process of its own: DPDK starts once.

use sluice_dataplane::io::Memory;
use sluice_dpdk::{Eal, EalConfig, EalError, HugeMemory, Pool, PoolConfig, version};

#[test]
fn huge_pages_serve_tables_and_pools_or_their_lack_is_explained() {
    let too_much = EalConfig {
        memory_mib: Some(1 << 30),
        ..EalConfig::default()
    };
    let wrong_core = EalConfig {
        control_cores: vec![900],
        ..EalConfig::default()
    };
    let refused = |config| Eal::init(config).unwrap_err().to_string();
    assert!(refused(&wrong_core).starts_with("there is no core 900 for this process; it may use "));

    // None of these has used up the one start.
    match Eal::init(&EalConfig::default()) {
        Err(error) => {
            assert_eq!(error, EalError::NoHugePages);
            assert!(error.to_string().contains("/proc/sys/vm/nr_hugepages"));
        }
        Ok(eal) => {
            let refused = refused(&too_much);
            assert!(refused.starts_with("1073741824 MiB of huge pages are asked for and "));
            let mut memory = HugeMemory::new(eal, None);
            let table: &mut [[u8; 64]] = memory.zeroed("a table", 100_000).unwrap();
            assert!(table.iter().flatten().all(|&byte| byte == 0));
            let pool = Pool::create(eal, &PoolConfig::for_mtu(2048, 1500)).unwrap();
            assert_eq!((pool.available(), pool.in_use()), (2048, 0));
        }
    }
    assert!(version().starts_with("DPDK 2"), "{}", version());
}
