//! One line of the audit chain: who did what to what, when and why, and how it stood before and after.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Texts as people read them; what is not known or does not apply is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was asked for, by Davy's clock.
    pub at: Timestamp,
    /// The person; `file` for an edit on the disk that nobody signed, `davy` for Davy itself.
    pub by: String,
    /// A word for programs: `alarm.acknowledged`, `rules.approved`.
    pub action: String,
    /// What it was done to: an alarm's id, a rule file, a point.
    pub subject: String,
    pub reason: String,
    pub before: String,
    pub after: String,
}

impl Record {
    /// Of a person at a time, to be filled in.
    #[must_use]
    pub fn by(by: &str, at: Timestamp) -> Self {
        let none = String::new;
        Self { at, by: by.to_owned(), action: none(), subject: none(), reason: none(), before: none(), after: none() }
    }

    /// The bytes that the chain's hash is taken of: number and time as 8 bytes each, little endian, then every
    /// text with its length in bytes as 4 in front. No two different records have the same bytes.
    #[must_use]
    pub fn canonical(&self, number: i64) -> Vec<u8> {
        let texts = [&self.by, &self.action, &self.subject, &self.reason, &self.before, &self.after];
        let mut bytes = Vec::with_capacity(16 + texts.iter().map(|text| text.len() + 4).sum::<usize>());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&self.at.micros().to_le_bytes());
        for text in texts {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}
