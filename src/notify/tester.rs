//! Tries recipients with a message that says of itself that it is a test: a person over each of their ways, or one.
//!
//! In comes a name, out go recipients, and for each what its channel said. One attempt each, past the outbox; whoever
//! asks writes down what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Channel, Failure, Recipient};

/// What a test of a channel came to.
pub type Tried = Result<String, Failure>;

/// The channels as the gateway uses them.
#[derive(Clone, Default)]
pub struct Tester {
    everybody: Arc<[(Recipient, Arc<dyn Channel>)]>,
    /// Recipients (`sms.li`) by person.
    people: Arc<BTreeMap<String, Vec<String>>>,
}

impl Tester {
    #[must_use]
    pub(super) fn new(
        everybody: impl Iterator<Item = (Recipient, Arc<dyn Channel>)>,
        people: BTreeMap<String, Vec<String>>,
    ) -> Self {
        Self { everybody: everybody.collect(), people: Arc::new(people) }
    }

    /// Everybody who is meant by the name of a person, or by `captain` or `mail.captain`; else who is known.
    pub fn ways(&self, name: &str) -> Result<Vec<Recipient>, String> {
        let all = || self.everybody.iter().map(|(recipient, _)| recipient);
        if let Some(reach) = self.people.get(name) {
            let ways: Vec<Recipient> = all().filter(|one| reach.contains(&one.full_name())).cloned().collect();
            return if ways.is_empty() { Err(format!("person.{name} can be reached by nothing")) } else { Ok(ways) };
        }
        let meant: Vec<&Recipient> = all().filter(|one| one.name == name || one.full_name() == name).collect();
        match meant.as_slice() {
            [one] => Ok(vec![(*one).clone()]),
            [] => {
                let known: Vec<String> = self.people.keys().cloned().chain(all().map(Recipient::full_name)).collect();
                Err(format!("there is no person or recipient {name:?}; there are {}", known.join(", ")))
            }
            several => {
                let names: Vec<String> = several.iter().map(|one| one.full_name()).collect();
                Err(format!("{name:?} may be {}: write one of them", names.join(" or ")))
            }
        }
    }

    /// Once.
    pub async fn test(&self, recipient: &Recipient) -> Tried {
        let Some((_, channel)) = self.everybody.iter().find(|(known, _)| known == recipient) else {
            return Err(Failure::for_good(format!("there is no recipient {}", recipient.full_name())));
        };
        channel.test().await
    }
}
