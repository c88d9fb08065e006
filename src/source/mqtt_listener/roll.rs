//! The roll: which client id is connected, and how its connection is ended when the id comes again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Client ids that clients chose, at most one connection each; bounded by the limit of connections.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<HashMap<String, Seat>>);

#[derive(Debug)]
struct Seat {
    connection: u64,
    user: String,
    kick: CancellationToken,
}

impl Roll {
    /// Takes the seat of a client id and ends the connection that had it. False when that one belongs to
    /// another user: nobody can push out a device whose password they do not know.
    pub(super) fn sit(&self, id: &str, user: &str, connection: u64, kick: &CancellationToken) -> bool {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = seats.get(id) {
            if old.user != user {
                return false;
            }
            old.kick.cancel();
        }
        seats.insert(id.to_owned(), Seat { connection, user: user.to_owned(), kick: kick.clone() });
        true
    }

    /// Gives up the seat, unless somebody else has it by now.
    pub(super) fn stand(&self, id: &str, connection: u64) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.get(id).is_some_and(|seat| seat.connection == connection) {
            seats.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_user_takes_over_and_another_does_not() {
        let roll = Roll::default();
        let (first, second, third) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        assert!(roll.sit("face", "ann", 1, &first));
        assert!(!roll.sit("face", "", 2, &second));
        assert!(!first.is_cancelled());
        assert!(roll.sit("face", "ann", 3, &third));
        assert!(first.is_cancelled() && !third.is_cancelled());
        roll.stand("face", 1);
        assert!(!roll.sit("face", "bob", 4, &second), "the first connection's end does not free the seat");
        roll.stand("face", 3);
        assert!(roll.sit("face", "bob", 4, &second));
    }
}
