//! How fast a client may be, and how often an address may come.
//!
//! In comes what was taken; out comes how long to wait before more is. A client over its limit is not read
//! from: TCP holds it back and nothing that it sent is lost. An address that connects too often is turned
//! away before anything is read. Of every limit a second's worth may come at once. 0 in the configuration
//! is no limit.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::config::Limits;
use crate::clock::Stopwatch;

/// Addresses that are remembered; beyond it all begin anew.
const ADDRESSES: usize = 16_384;
/// One piece, but for what rounding takes.
const ENOUGH: f64 = 0.999_999;

/// A balance that fills with time, up to a second's worth, and may go below zero by one piece.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_s: f64,
    balance: f64,
    filled: Stopwatch,
}

impl Bucket {
    fn new(per_s: u32) -> Option<Self> {
        let per_s = f64::from(per_s);
        (per_s > 0.0).then(|| Self { per_s, balance: per_s, filled: Stopwatch::start() })
    }

    fn fill(&mut self) {
        let gained = self.filled.elapsed().as_secs_f64() * self.per_s;
        self.filled = Stopwatch::start();
        self.balance = (self.balance + gained).min(self.per_s.max(1.0));
    }

    /// Until there is something to spend.
    fn wait(&self) -> Duration {
        if self.balance >= ENOUGH {
            return Duration::ZERO;
        }
        let wanting = (1.0 - self.balance) / self.per_s - self.filled.elapsed().as_secs_f64();
        Duration::from_secs_f64(wanting.clamp(0.0, 3_600.0))
    }
}

/// Of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { messages: Bucket::new(limits.messages_per_s), bytes: Bucket::new(limits.bytes_per_s) }
    }

    /// Once a read: the time that passed since the last is credited.
    pub(super) fn fill(&mut self) {
        self.messages.iter_mut().chain(&mut self.bytes).for_each(Bucket::fill);
    }

    /// May one more message be taken in?
    pub(super) fn allows(&self) -> bool {
        self.messages.iter().chain(&self.bytes).all(|bucket| bucket.balance >= ENOUGH)
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        if let Some(bucket) = &mut self.messages {
            bucket.balance -= 1.0;
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.balance -= bytes as f64;
        }
    }

    /// How long until one more may be taken in.
    pub(super) fn wait(&self) -> Duration {
        self.messages.iter().chain(&self.bytes).map(Bucket::wait).max().unwrap_or_default()
    }
}

/// How often each address came of late.
#[derive(Debug)]
pub(super) struct Arrivals {
    per_s: u32,
    addresses: Mutex<HashMap<IpAddr, (Bucket, bool)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Welcome,
    /// Too often, and now for the first time since it was let in.
    NowTooOften,
    TooOften,
}

impl Arrivals {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { per_s: limits.connects_per_s, addresses: Mutex::new(HashMap::new()) }
    }

    pub(super) fn admit(&self, address: IpAddr) -> Arrival {
        let Some(fresh) = Bucket::new(self.per_s) else { return Arrival::Welcome };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = subscriber_line(address);
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&address) {
            addresses.clear();
        }
        let (bucket, told) = addresses.entry(address).or_insert((fresh, false));
        bucket.fill();
        if bucket.balance >= ENOUGH {
            bucket.balance -= 1.0;
            *told = false;
            Arrival::Welcome
        } else if std::mem::replace(told, true) {
            Arrival::TooOften
        } else {
            Arrival::NowTooOften
        }
    }
}

/// One household of IPv6 has 2^64 addresses; they count as one.
fn subscriber_line(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_comes_too_often_is_told_once_and_others_are_not_touched() {
        let arrivals = Arrivals { per_s: 3, addresses: Mutex::new(HashMap::new()) };
        let at = |text: &str| arrivals.admit(text.parse().unwrap());
        let seen: Vec<_> = (0..5).map(|_| at("10.0.0.1")).collect();
        assert_eq!(seen[..3], [Arrival::Welcome; 3]);
        assert_eq!(seen[3..], [Arrival::NowTooOften, Arrival::TooOften]);
        assert_eq!(at("10.0.0.2"), Arrival::Welcome);
        assert_eq!(at("::ffff:10.0.0.1"), Arrival::TooOften);
        for host in 1..=3 {
            assert_eq!(at(&format!("2001:db8::{host}")), Arrival::Welcome);
        }
        assert_eq!(at("2001:db8::9"), Arrival::NowTooOften);
        assert_eq!(at("2001:db8:0:1::9"), Arrival::Welcome);
    }

    #[test]
    fn a_debt_is_paid_with_time() {
        let mut bucket = Bucket::new(10).unwrap();
        bucket.balance -= 11.0;
        let wait = bucket.wait();
        assert!(wait > Duration::from_millis(150) && wait <= Duration::from_millis(200), "{wait:?}");
        assert!(Bucket::new(0).is_none());
    }
}
