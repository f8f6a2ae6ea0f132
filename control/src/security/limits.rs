//! How much each client may ask, and how often guess. A client is an IPv4 address, or an IPv6 /64.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered. The one not heard of for longest makes room.
const MAX_CLIENTS: usize = 4096;
/// Requests that a client which was quiet may send at once, in seconds of its rate.
const BURST_SECONDS: f64 = 2.0;
/// Wrong guesses before a client is locked out.
const GUESSES: u32 = 5;
/// How long, the first time; each guess after that doubles it.
const LOCKOUT: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a client that sends too much is not written down again.
const NOTED: Duration = Duration::from_secs(60);

/// How long a client has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

#[derive(Debug)]
struct Client {
    seen: Instant,
    /// Requests that it may still send.
    tokens: f64,
    wrong: u32,
    locked_until: Option<Instant>,
    noted: Option<Instant>,
}

/// All clients.
#[derive(Debug)]
pub struct Limits {
    per_second: f64,
    clients: Mutex<HashMap<IpAddr, Client>>,
}

impl Limits {
    /// So many requests per second from each client, and twice as many at once.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            clients: Mutex::default(),
        }
    }

    /// A client sends a request.
    ///
    /// # Errors
    /// [`Wait`] if it sends too many.
    pub fn request(&self, client: IpAddr, now: Instant) -> Result<(), Wait> {
        let burst = self.per_second * BURST_SECONDS;
        let mut clients = self.clients();
        let client = entry(&mut clients, client, burst, now);
        let quiet = now.saturating_duration_since(client.seen).as_secs_f64();
        client.seen = now;
        client.tokens = (client.tokens + quiet * self.per_second).min(burst);
        if client.tokens < 1.0 {
            let wait = (1.0 - client.tokens) / self.per_second;
            return Err(Wait(Duration::from_secs_f64(wait)));
        }
        client.tokens -= 1.0;
        Ok(())
    }

    /// Whether a client may guess.
    ///
    /// # Errors
    /// [`Wait`] if it guessed wrong too often.
    pub fn may_guess(&self, client: IpAddr, now: Instant) -> Result<(), Wait> {
        let clients = self.clients();
        let locked = clients
            .get(&network(client))
            .and_then(|client| client.locked_until);
        match locked.and_then(|until| until.checked_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(Wait(left)),
            _ => Ok(()),
        }
    }

    /// A client guessed wrong. True if it is locked out by this.
    pub fn guessed_wrong(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.clients();
        let client = entry(&mut clients, client, self.per_second * BURST_SECONDS, now);
        client.wrong = client.wrong.saturating_add(1);
        let Some(over) = client.wrong.checked_sub(GUESSES) else {
            return false;
        };
        let time = LOCKOUT.saturating_mul(1 << over.min(16)).min(LONGEST);
        client.locked_until = Some(now + time);
        true
    }

    /// A client guessed right.
    pub fn guessed_right(&self, client: IpAddr) {
        if let Some(client) = self.clients().get_mut(&network(client)) {
            client.wrong = 0;
            client.locked_until = None;
        }
    }

    /// A client is told to wait. True once a minute: then it is worth a record.
    pub fn is_noted_now(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.clients();
        let client = entry(&mut clients, client, self.per_second * BURST_SECONDS, now);
        let fresh = |noted| now.saturating_duration_since(noted) < NOTED;
        if client.noted.is_some_and(fresh) {
            return false;
        }
        client.noted = Some(now);
        true
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client that an address belongs to: itself, or the IPv6 /64 that it is in.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()
        }
        other => other,
    }
}

fn entry(
    clients: &mut HashMap<IpAddr, Client>,
    address: IpAddr,
    burst: f64,
    now: Instant,
) -> &mut Client {
    let key = network(address);
    if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
        // Whoever is locked out stays known if anybody else can go.
        let oldest = clients
            .iter()
            .min_by_key(|(_, client)| (client.locked_until, client.seen));
        if let Some((&oldest, _)) = oldest {
            clients.remove(&oldest);
        }
    }
    clients.entry(key).or_insert(Client {
        seen: now,
        tokens: burst,
        wrong: 0,
        locked_until: None,
        noted: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_client_may_burst_and_then_goes_at_its_rate() {
        let limits = Limits::new(10);
        let start = Instant::now();
        let passed = |now| {
            (0..100)
                .filter(|_| limits.request(ONE, now).is_ok())
                .count()
        };
        assert_eq!(passed(start), 20);
        assert_eq!(passed(start + Duration::from_millis(500)), 5);
        assert_eq!(
            limits.request(ONE, start + Duration::from_millis(500)),
            Err(Wait(Duration::from_millis(100)))
        );
        assert_eq!(passed(start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn wrong_guesses_lock_out_for_longer_each_time_and_nobody_else() {
        let limits = Limits::new(10);
        let start = Instant::now();
        for _ in 1..GUESSES {
            assert!(!limits.guessed_wrong(ONE, start));
        }
        assert_eq!(limits.may_guess(ONE, start), Ok(()));
        assert!(limits.guessed_wrong(ONE, start));
        assert_eq!(limits.may_guess(ONE, start), Err(Wait(LOCKOUT)));
        assert_eq!(
            limits.may_guess("192.0.2.2".parse().expect("an address"), start),
            Ok(())
        );
        let later = start + LOCKOUT;
        assert_eq!(limits.may_guess(ONE, later), Ok(()));
        assert!(limits.guessed_wrong(ONE, later));
        assert_eq!(limits.may_guess(ONE, later), Err(Wait(2 * LOCKOUT)));
        limits.guessed_right(ONE);
        assert_eq!(limits.may_guess(ONE, later), Ok(()));
    }

    #[test]
    fn who_sends_too_much_is_noted_once_a_minute() {
        let limits = Limits::new(10);
        let start = Instant::now();
        assert!(limits.is_noted_now(ONE, start));
        assert!(!limits.is_noted_now(ONE, start + NOTED / 2));
        let other = "192.0.2.2".parse().expect("an address");
        assert!(limits.is_noted_now(other, start + NOTED / 2));
        assert!(limits.is_noted_now(ONE, start + NOTED));
        assert!(!limits.is_noted_now(ONE, start + NOTED));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_clients_are_bounded() {
        let limits = Limits::new(1);
        let now = Instant::now();
        let client = |n: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n));
        assert!(limits.request(client(1), now).is_ok());
        assert!(limits.request(client(2), now).is_ok());
        assert!(limits.request(client(3), now).is_err());
        for n in 0..2 * MAX_CLIENTS as u128 {
            assert!(limits.request(client(n << 64 | 1 << 120), now).is_ok());
        }
        assert_eq!(limits.clients().len(), MAX_CLIENTS);
    }
}
