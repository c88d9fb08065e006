//! Links with which a recipient acknowledges an alarm from a message, without signing in.
//!
//! ```text
//!  https://davy.county.example/a/41-3f0c..e1     outbox row 41, and 128 bits that only this gateway can make
//! ```
//! The 128 bits are an HMAC-SHA-256, with a key that lies in the data folder, over the row, the occurrence,
//! how often it had been raised, the recipient, and the end of the link. So nothing has to be remembered:
//! links hold over a restart, and end with the key. A link is good for what its message told and for nothing
//! newer, and only once, because an occurrence is acknowledged only once.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Message;
use crate::alarm::{Alarm, Happening};
use crate::facts::{Outgoing, Recipient};
use crate::model::Timestamp;
use crate::remote::Url;
use crate::response::StepKind;

/// Path of links below `link_base`.
pub const PATH: &str = "/a/";
/// Bytes of a seal: 128 bits.
const SEAL: usize = 16;

/// `[notify] link_base` and `link_valid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub base: Url,
    pub valid: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("key of acknowledgement links {path}: {source}", path = path.display())]
pub struct KeyError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// What seals links. Printing it shows nothing.
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(key)")
    }
}

impl Key {
    const BYTES: usize = 32;

    /// Reads `links.key` of the data folder, or makes it. Whoever deletes the file ends every link.
    pub fn open(data: &Path) -> Result<Self, KeyError> {
        let path = data.join("links.key");
        let fault = |source| KeyError { path: path.clone(), source };
        match std::fs::read(&path) {
            Ok(bytes) if bytes.len() == Self::BYTES => Ok(Self(bytes.into())),
            Ok(_) => Err(fault(std::io::Error::other("it is damaged; delete it: links that were sent then end"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(&path).map_err(fault),
            Err(error) => Err(fault(error)),
        }
    }

    fn make(path: &Path) -> Result<Self, std::io::Error> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut bytes = [0; Self::BYTES];
        let source = rustls::crypto::ring::default_provider().secure_random;
        source.fill(&mut bytes).map_err(|_| std::io::Error::other("the operating system gives no random bytes"))?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(Self(bytes.to_vec().into()))
    }

    /// What random times are drawn from: nobody can guess them who does not have the key.
    #[must_use]
    pub fn seed(&self) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(b"davy presence 1");
        mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes every write");
            text
        })
    }

    fn seal(&self, sealed: &Sealed<'_>) -> [u8; SEAL] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(b"davy acknowledge 1");
        // Each part with its length, so that no two lists of parts look the same.
        for part in [sealed.occurrence, sealed.channel, sealed.recipient] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(&sealed.row.to_be_bytes());
        mac.update(&sealed.raises.to_be_bytes());
        mac.update(&sealed.ends.micros().to_be_bytes());
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&mac.finalize().into_bytes()[..SEAL]);
        seal
    }
}

/// What a link is about.
struct Sealed<'a> {
    row: i64,
    occurrence: &'a str,
    raises: u32,
    channel: &'a str,
    recipient: &'a str,
    ends: Timestamp,
}

/// Makes the links of one recipient.
#[derive(Clone, Debug)]
pub struct Links {
    config: Config,
    key: Key,
    channel: String,
    recipient: String,
}

impl Links {
    #[must_use]
    pub fn new(config: &Config, key: &Key, to: &Recipient) -> Self {
        let (channel, recipient) = (to.channel.clone(), to.name.clone());
        Self { config: config.clone(), key: key.clone(), channel, recipient }
    }

    /// The link of a message that asks for an acknowledgement; of several that are told as one, the page with the
    /// list of alarms; empty for any other.
    #[must_use]
    pub fn to(&self, message: &Message) -> String {
        if message.summary.is_some() || !message.others.is_empty() {
            return self.config.base.as_str().to_owned();
        }
        self.own(message)
    }

    /// The same of one message, whatever it is told with.
    #[must_use]
    pub fn own(&self, message: &Message) -> String {
        let change = &message.published.change;
        let called = message.why.as_ref().is_some_and(|step| step.kind == StepKind::Call);
        let asks = called || Happening::CALLS.contains(&change.happening);
        if !asks || !change.alarm.standing.waits() || message.outbox == 0 {
            return String::new();
        }
        let seal = self.key.seal(&Sealed {
            row: message.outbox,
            occurrence: change.alarm.id.as_str(),
            raises: change.alarm.raises,
            channel: &self.channel,
            recipient: &self.recipient,
            ends: message.created + self.config.valid,
        });
        let mut link = format!("{}{PATH}{}-", self.config.base.as_str().trim_end_matches('/'), message.outbox);
        for byte in seal {
            write!(link, "{byte:02x}").expect("writing to a string cannot fail");
        }
        link
    }
}

/// Looks at links that come back.
#[derive(Clone, Debug)]
pub struct Doorkeeper {
    pub key: Key,
    pub valid: Duration,
}

/// Who may acknowledge what.
#[derive(Clone, Debug, PartialEq)]
pub struct Leave {
    /// `mail captain`
    pub who: String,
    /// As the message told it.
    pub alarm: Alarm,
}

impl Doorkeeper {
    /// The outbox row that a link names.
    #[must_use]
    pub fn row(link: &str) -> Option<i64> {
        let (row, seal) = link.split_once('-')?;
        (seal.len() == SEAL * 2).then(|| row.parse().ok().filter(|row| *row > 0)).flatten()
    }

    /// What the link allows, if it is one of ours and has not ended. What is wrong with it is not told: every
    /// refusal is the same and takes the same work.
    #[must_use]
    pub fn admit(&self, link: &str, found: Option<&Outgoing>, now: Timestamp) -> Option<Leave> {
        let alarm = found.map(|row| &row.published.change.alarm);
        let ends = found.map_or(Timestamp::MIN, |row| row.created + self.valid);
        let seal = self.key.seal(&Sealed {
            row: found.map_or(0, |row| row.id),
            occurrence: alarm.map_or("", |alarm| alarm.id.as_str()),
            raises: alarm.map_or(0, |alarm| alarm.raises),
            channel: found.map_or("", |row| &row.channel),
            recipient: found.map_or("", |row| &row.recipient),
            ends,
        });
        let said = bytes(link.split_once('-')?.1)?;
        let genuine: bool = seal.ct_eq(&said).into();
        let row = found.filter(|_| genuine && now < ends)?;
        Some(Leave { who: format!("{} {}", row.channel, row.recipient), alarm: row.published.change.alarm.clone() })
    }
}

fn bytes(hex: &str) -> Option<[u8; SEAL]> {
    let mut bytes = [0; SEAL];
    if hex.len() != SEAL * 2 || !hex.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alarm, outgoing};
    use super::*;
    use crate::alarm::{Priority, Standing};

    fn links(data: &Path) -> (Links, Doorkeeper) {
        let config =
            Config { base: "https://davy.county.example/".parse().unwrap(), valid: Duration::from_secs(3_600) };
        let key = Key::open(data).unwrap();
        let to = Recipient {
            channel: "webhook".into(),
            name: "county-duty".into(),
            from_priority: Priority::P4,
            sites: vec![],
        };
        (Links::new(&config, &key, &to), Doorkeeper { key, valid: config.valid })
    }

    fn row() -> Outgoing {
        outgoing(41, Happening::Raised, alarm("face", Priority::P1))
    }

    fn token(links: &Links, row: &Outgoing) -> String {
        let link = links.to(&Message::of(row));
        link.strip_prefix("https://davy.county.example/a/").unwrap().to_owned()
    }

    #[test]
    fn a_link_holds_over_a_restart_and_ends_with_its_time_or_its_key() {
        let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let row = row();
        let link = token(&links(data.path()).0, &row);
        assert_eq!(Doorkeeper::row(&link), Some(41));
        let (again, door) = links(data.path());
        assert_eq!(token(&again, &row), link, "the next try and the next run send the same");
        let leave = door.admit(&link, Some(&row), row.created).unwrap();
        assert_eq!((leave.who.as_str(), leave.alarm.raises), ("webhook county-duty", 1));
        let last = row.created + Duration::from_secs(3_599);
        assert!(door.admit(&link, Some(&row), last).is_some());
        assert_eq!(door.admit(&link, Some(&row), last + Duration::from_secs(1)), None);
        assert_eq!(links(other.path()).1.admit(&link, Some(&row), row.created), None);
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.path().join("links.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_link_is_good_for_its_own_message_and_no_touched_one_is_good_at_all() {
        let data = tempfile::tempdir().unwrap();
        let (links, door) = links(data.path());
        let row = row();
        let link = token(&links, &row);
        let others: [fn(&mut Outgoing); 5] = [
            |row| row.id = 42,
            |row| row.recipient = "somebody".into(),
            |row| row.channel = "mail".into(),
            |row| row.published.change.alarm.raises = 2,
            |row| row.created = row.created + Duration::from_secs(1),
        ];
        for change in others {
            let mut other = row.clone();
            change(&mut other);
            assert_eq!(door.admit(&link, Some(&other), row.created), None);
        }
        assert_eq!(door.admit(&link, None, row.created), None);
        for at in 3..link.len() {
            let mut touched = link.clone().into_bytes();
            touched[at] = if touched[at] == b'0' { b'1' } else { b'0' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(door.admit(&touched, Some(&row), row.created), None, "{at}");
        }
        for nonsense in ["", "-", "41", "41-", "x-00", "41-é", &format!("{link}0"), &link.to_uppercase()] {
            assert_eq!(door.admit(nonsense, Some(&row), row.created), None, "{nonsense}");
        }
    }

    #[test]
    fn whatever_calls_for_an_acknowledgement_has_its_link_and_many_have_that_of_the_page() {
        let data = tempfile::tempdir().unwrap();
        let (links, door) = links(data.path());
        for happening in Happening::CALLS {
            let row = outgoing(41, happening, alarm("face", Priority::P1));
            assert!(door.admit(&token(&links, &row), Some(&row), row.created).is_some(), "{happening:?}");
        }
        let seen = Alarm { standing: Standing::Acknowledged, ..alarm("face", Priority::P1) };
        assert_eq!(links.to(&Message::of(&outgoing(5, Happening::Worsened, seen))), "");
        let rows = [row(), outgoing(42, Happening::Raised, alarm("other", Priority::P2))].map(Arc::new);
        let both = Message::together(&rows);
        assert_eq!(links.to(&both), "https://davy.county.example/");
        let own = [links.own(&both), links.own(&both.others[0])];
        for (link, row) in own.iter().zip(&rows) {
            let link = link.strip_prefix("https://davy.county.example/a/").unwrap();
            assert!(door.admit(link, Some(&**row), row.created).is_some());
        }
        // Each has its own where there is room, and else none.
        let wish = crate::notify::wish::Wish {
            from_priority: Priority::P4,
            sites: vec![],
            language: crate::notify::wording::Language::English,
            call: String::new(),
            template: None,
            most_per: None,
        };
        let template = crate::notify::template::Template::new(&wish);
        let text = |bytes| template.linked(&both, Some(&links), crate::notify::template::Bound::Bytes(bytes));
        let wide = text(4_000);
        assert!(own.iter().all(|link| wide.contains(link)), "{wide}");
        let narrow = text(wide.len() - 1);
        assert!(own.iter().all(|link| !narrow.contains(link)), "{narrow}");
        assert!(narrow.ends_with("https://davy.county.example/") && narrow.matches("mine-3.").count() == 2, "{narrow}");
    }

    #[test]
    fn news_that_asks_nobody_to_act_has_no_link() {
        let data = tempfile::tempdir().unwrap();
        let over = outgoing(5, Happening::Cleared, alarm("face", Priority::P1));
        assert_eq!(links(data.path()).0.to(&Message::of(&over)), "");
        assert_eq!(links(data.path()).0.to(&Message::example()), "");
    }
}
