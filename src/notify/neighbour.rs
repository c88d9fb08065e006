//! Published warnings, as CAP 1.2 messages, to the servers of neighbours.
//!
//! In comes a message of the outbox, out goes the XML that was published of the same change, signed as webhooks are,
//! with the CAP identifier as its `Idempotency-Key`. A neighbour's queue keeps the messages of one warning in their
//! order, over restarts too. An emptied file of the secret ends the deliveries at once: what waits is given up by name
//! and raises no alarm, since somebody wanted it so.

use std::sync::Arc;

use super::webhook::{self, Sheet};
use super::{Channel, Delivery, Failure, Message, Recipient};
use crate::alarm::Priority;
use crate::facts;
use crate::publish::{NEIGHBOUR, Neighbour};
use crate::remote;

/// Identifier and XML of what was published of a change, if anything was. Reads facts.
pub type Warnings = Arc<dyn Fn(i64) -> Result<Option<(String, String)>, facts::Error> + Send + Sync>;

/// A neighbour, and the way to it.
type Reached = (Recipient, Arc<dyn Channel>);

/// Everybody to whom warnings are sent, and where the warnings are.
#[derive(Clone)]
pub struct Neighbours {
    pub list: Vec<Neighbour>,
    pub warnings: Warnings,
}

impl Neighbours {
    /// Nobody.
    #[must_use]
    pub fn none() -> Self {
        Self { list: Vec::new(), warnings: Arc::new(|_| Ok(None)) }
    }

    /// As the outbox names them.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        let recipient = |neighbour: &Neighbour| Recipient {
            channel: NEIGHBOUR.to_owned(),
            name: neighbour.name.clone(),
            from_priority: Priority::P4,
            sites: neighbour.sites().to_vec(),
        };
        self.list.iter().map(recipient).collect()
    }

    pub(super) fn channels(&self) -> Result<Vec<Reached>, remote::Error> {
        let channel = |(recipient, neighbour): (Recipient, &Neighbour)| {
            let client = remote::client(&neighbour.url, neighbour.authority.as_deref(), neighbour.timeout)?;
            let push = Push { client, neighbour: neighbour.clone(), warnings: self.warnings.clone() };
            Ok((recipient, Arc::new(push) as Arc<dyn Channel>))
        };
        self.recipients().into_iter().zip(&self.list).map(channel).collect()
    }
}

struct Push {
    client: reqwest::Client,
    neighbour: Neighbour,
    warnings: Warnings,
}

impl Push {
    async fn push(&self, change: i64) -> Result<String, Failure> {
        let (warnings, secret) = (self.warnings.clone(), self.neighbour.secret.clone());
        let read = tokio::task::spawn_blocking(move || (warnings(change), secret.read())).await;
        let (warning, secret) = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let secret = secret.map_err(|error| match error {
            remote::Error::EmptyFile { .. } => Failure::nobody(format!("deliveries are ended: {error}")),
            remote::Error::SecretFile { .. }
            | remote::Error::NoVariable(_)
            | remote::Error::Certificate { .. }
            | remote::Error::Client(_) => Failure::temporary(error.to_string()),
        })?;
        let Some((key, xml)) = warning.map_err(|error| Failure::temporary(error.to_string()))? else {
            return Err(Failure::for_good(
                "nothing was published of it: neighbours are told of warnings alone, and an exercise tries them",
            ));
        };
        let sheet = Sheet { media: "application/cap+xml", key, body: xml.into_bytes() };
        webhook::post(&self.client, &self.neighbour.url, Some(&secret), sheet).await
    }
}

impl Channel for Push {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.push(message.published.id))
    }
}
