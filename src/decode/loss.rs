//! What a message lost, for whoever tells it to a person: the ledger only counts.

use crate::ledger::Fate;

/// One part of a message that could not be used as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Line, record or element, counted from 1; 0 for the message as a whole.
    pub place: usize,
    /// [`Fate::BadTime`] and [`Fate::BadValue`]: the sample was kept and flagged. All others: it was not.
    pub fate: Fate,
    /// The point as it was named, the text that did not parse, or what the script said; may be empty.
    pub about: Box<str>,
}

/// The losses of the newest message: the first few of them.
#[derive(Debug)]
pub struct Losses {
    list: Vec<Loss>,
    most: usize,
    /// Messages that lost something so far.
    messages: u64,
}

impl Losses {
    /// Letters of a loss's text, at the most: what a sender wrote may be long.
    const LONGEST: usize = 160;

    pub const fn at_most(most: usize) -> Self {
        Self { list: Vec::new(), most, messages: 0 }
    }

    pub fn clear(&mut self) {
        self.list.clear();
    }

    pub fn list(&self) -> &[Loss] {
        &self.list
    }

    /// The list for the 1st, 2nd, 4th, 8th .. message that lost something, otherwise nothing: what is logged
    /// stays short however long a device goes on.
    pub fn worth_telling(&self) -> &[Loss] {
        if self.messages.is_power_of_two() { &self.list } else { &[] }
    }

    #[cold]
    pub fn tell(&mut self, place: usize, fate: Fate, about: &str) {
        self.messages += u64::from(self.list.is_empty());
        if self.list.len() < self.most {
            let end = about.char_indices().nth(Self::LONGEST).map_or(about.len(), |(at, _)| at);
            self.list.push(Loss { place, fate, about: about[..end].into() });
        }
    }
}
