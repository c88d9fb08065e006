//! How a connection ended: what is counted, what a v5 client is told, and whether its will is taken in.

use std::io;
use std::time::Duration;

use super::frame::Breach;
use crate::journal;
use crate::ledger::Fate;
use crate::model::duration_text;

#[derive(Debug)]
pub(super) struct End {
    /// What is counted; nothing for a client that said goodbye.
    pub fate: Option<Fate>,
    /// Of the v5 DISCONNECT; 0 sends none.
    pub reason: u8,
    /// The will is taken in.
    pub will: bool,
    /// What was taken in is acknowledged first.
    pub orderly: bool,
    pub what: String,
}

impl End {
    fn by_us(fate: Fate, reason: u8, what: impl Into<String>) -> Self {
        Self { fate: Some(fate), reason, will: true, orderly: true, what: what.into() }
    }

    /// The client's DISCONNECT. 3.1.1 and reason 0 mean that all is well.
    pub(super) fn disconnect(reason: u8) -> Self {
        let what = if reason == 0 { "disconnected".into() } else { format!("disconnected with reason {reason:#04x}") };
        Self { fate: None, reason: 0, will: reason != 0, orderly: true, what }
    }

    /// End of stream without DISCONNECT. The client may still be reading.
    pub(super) fn closed() -> Self {
        Self { reason: 0, ..Self::by_us(Fate::Disconnected, 0, "closed without a DISCONNECT") }
    }

    pub(super) fn lost(error: &io::Error) -> Self {
        Self { orderly: false, ..Self::by_us(Fate::Disconnected, 0, format!("lost: {error}")) }
    }

    pub(super) fn breach(breach: Breach) -> Self {
        Self::by_us(breach.fate(), breach.reason(), breach.to_string())
    }

    pub(super) fn subscription_identifier() -> Self {
        Self::by_us(Fate::Malformed, 0xA1, "a subscription identifier, which is not offered")
    }

    pub(super) fn keep_alive(silence: Duration) -> Self {
        Self::by_us(Fate::KeepAlive, 0x8D, format!("no packet within {}", duration_text(silence)))
    }

    pub(super) fn slow_reader(what: &str) -> Self {
        Self { orderly: false, ..Self::by_us(Fate::SlowReader, 0x97, what) }
    }

    /// Not counted: it is the device's own doing, and the new connection is there.
    pub(super) fn taken_over() -> Self {
        let what = "its client id connected again";
        Self { fate: None, reason: 0x8E, will: true, orderly: false, what: what.into() }
    }

    /// The will is not taken in: it is Davy that goes away, not the device.
    pub(super) fn stopping() -> Self {
        Self { fate: None, reason: 0x8B, will: false, orderly: true, what: "the gateway stops".into() }
    }

    /// Here the connection is counted as lost; the samples that stay unacknowledged are counted one by one.
    pub(super) fn journal_failed(error: &journal::Error) -> Self {
        let what = format!("not acknowledged: {error}");
        Self { orderly: false, will: false, ..Self::by_us(Fate::Disconnected, 0x83, what) }
    }
}
