//! How many refused calls a peer may make: a flood of bad tokens must not become a flood of questions to Kubernetes,
//! nor of lines in the log. An accepted call costs nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

/// At once,
const MOST: u32 = 10;
/// and then one in this time.
const REFILL: Duration = Duration::from_secs(1);
/// More peers than that share one allowance.
const PEERS: usize = 256;

/// Whether there was something to spend.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Yes,
    /// No, for the first time since there was.
    LastRefused,
    No,
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
    told: bool,
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let gained = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        let gained = u32::try_from(gained).unwrap_or(MOST).min(MOST);
        if gained > 0 {
            self.left = (self.left + gained).min(MOST);
            self.since = now;
        }
        if self.left == MOST {
            self.told = false;
        }
    }
}

/// The allowances of all peers.
#[derive(Default)]
pub(super) struct Allowances(HashMap<IpAddr, Allowance>);

impl Allowances {
    pub(super) fn spend(&mut self, peer: IpAddr) -> Spent {
        let now = Instant::now();
        let peer = self.key(peer, now);
        let allowance = self.0.entry(peer).or_insert_with(|| Allowance {
            left: MOST,
            since: now,
            told: false,
        });
        allowance.refill(now);
        if allowance.left > 0 {
            allowance.left -= 1;
            return Spent::Yes;
        }
        if std::mem::replace(&mut allowance.told, true) {
            Spent::No
        } else {
            Spent::LastRefused
        }
    }

    /// What was spent on a call that was not to blame.
    pub(super) fn give_back(&mut self, peer: IpAddr) {
        let peer = self.key(peer, Instant::now());
        if let Some(allowance) = self.0.get_mut(&peer) {
            allowance.left = (allowance.left + 1).min(MOST);
        }
    }

    fn key(&mut self, peer: IpAddr, now: Instant) -> IpAddr {
        if self.0.len() >= PEERS && !self.0.contains_key(&peer) {
            self.0.retain(|_, allowance| {
                allowance.refill(now);
                allowance.left < MOST
            });
            if self.0.len() >= PEERS {
                return Ipv6Addr::UNSPECIFIED.into();
            }
        }
        peer
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_told_once_and_gets_one_a_second_back() {
        let mut allowances = Allowances::default();
        for _ in 0..MOST {
            assert_eq!(allowances.spend(peer(1)), Spent::Yes);
        }
        assert_eq!(allowances.spend(peer(1)), Spent::LastRefused);
        assert_eq!(allowances.spend(peer(1)), Spent::No);
        assert_eq!(allowances.spend(peer(2)), Spent::Yes, "another's own");
        tokio::time::advance(REFILL).await;
        assert_eq!(allowances.spend(peer(1)), Spent::Yes);
        assert_eq!(allowances.spend(peer(1)), Spent::No);
        allowances.give_back(peer(1));
        assert_eq!(allowances.spend(peer(1)), Spent::Yes);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_beyond_the_bound_share_one_allowance() {
        let mut allowances = Allowances::default();
        for number in 0..10_000 {
            allowances.spend(peer(number));
        }
        assert!(allowances.0.len() <= PEERS + 1, "{}", allowances.0.len());
        assert_eq!(allowances.spend(peer(20_000)), Spent::No);
        tokio::time::advance(REFILL * MOST).await;
        assert_eq!(allowances.spend(peer(20_000)), Spent::Yes);
        assert!(allowances.0.len() <= 2, "{}", allowances.0.len());
    }
}
