//! Durable entries, handed to whoever follows the journal.
use super::{Entry, Error, Seq};
use std::sync::Arc;
use std::time::Duration;

/// Opens cursors; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tail;

/// One consumer's place in the journal.
#[derive(Debug)]
pub struct Cursor;

impl Tail {
    /// The consumer's cursor, where it last said `passed`; a new name starts at the oldest entry kept.
    pub fn cursor(&self, _name: &str) -> Result<Cursor, Error> {
        todo!()
    }
}

impl Cursor {
    /// The next durable entries in order; waits up to `wait` for one. Empty: none came.
    pub fn next(&mut self, _wait: Duration) -> Result<Vec<(Seq, Entry)>, Error> {
        todo!()
    }

    /// Everything up to `seq` is safe elsewhere: after a restart this consumer begins behind it.
    pub fn passed(&mut self, _seq: Seq) {
        todo!()
    }
}
