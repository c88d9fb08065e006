//! Ids of occurrences: the same event has the same id on every replay and on every node.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::Timestamp;

/// 16 letters and digits derived from subject, rule and event time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OccurrenceId(Arc<str>);

impl OccurrenceId {
    #[must_use]
    pub fn of(subject: &str, rule: &str, raised: Timestamp) -> Self {
        Self::from_parts(&[subject, rule], raised)
    }

    /// Of what an exercise raised: never that of the real alarm of the same moment.
    #[must_use]
    pub fn of_exercise(exercise: &str, subject: &str, rule: &str, raised: Timestamp) -> Self {
        Self::from_parts(&[subject, rule, exercise], raised)
    }

    fn from_parts(parts: &[&str], raised: Timestamp) -> Self {
        // Letters that are not mistaken for each other when read out on the telephone.
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut hash = Sha256::new();
        for part in parts.iter().map(|part| part.as_bytes()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(raised.micros().to_le_bytes());
        let digest = hash.finalize();
        let mut text = String::with_capacity(16);
        for chunk in digest[..10].chunks_exact(5) {
            let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in (0..8).rev() {
                text.push(char::from(LETTERS[(bits >> (5 * place) & 31) as usize]));
            }
        }
        Self(text.into())
    }

    /// An id that came from outside; it need not name an alarm that exists.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For whoever keeps many and each word once.
    pub(crate) const fn word_mut(&mut self) -> &mut Arc<str> {
        &mut self.0
    }
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_every_part_and_on_nothing_else() {
        let at = Timestamp::from_secs(1_800_000_000);
        let id = OccurrenceId::of("mine.t1", "methane-face", at);
        assert_eq!(id, OccurrenceId::of("mine.t1", "methane-face", at));
        assert_eq!(id.as_str().len(), 16);
        assert_ne!(id, OccurrenceId::of("mine.t2", "methane-face", at));
        assert_ne!(id, OccurrenceId::of_exercise("exercise-1", "mine.t1", "methane-face", at));
        assert_ne!(id, OccurrenceId::of("mine.t1m", "ethane-face", at));
        assert_ne!(id, OccurrenceId::of("mine.t1", "methane-face", Timestamp::from_micros(at.micros() + 1)));
    }
}
