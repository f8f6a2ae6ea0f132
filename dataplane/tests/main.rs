//! Whole appliances in memory: one program, because each would compile the workers again.

mod world;

mod alg;
mod alg_pair;
mod balance;
mod capture;
mod expiry;
mod farewell;
mod flood;
mod ha;
mod ha_burst;
mod ha_capture;
mod ha_digest;
mod ha_failover;
mod ha_inline;
mod ha_mappings;
mod ha_modes;
mod ha_tunnel;
mod handoff;
mod host;
mod host_services;
mod http_redirect;
mod http_redirect_pair;
mod http_redirect_trace;
mod lb_properties;
mod leaving;
mod mail;
mod mappings;
mod nat;
mod nodes;
mod overload;
mod plain;
mod roles;
mod trace;
