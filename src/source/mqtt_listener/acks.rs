//! Publishes that wait to be acknowledged.
//!
//! In come packet ids in the order in which they were read, closed into groups that share one commit; out
//! come PUBACKs in that same order, a group only when its commit has resolved. A commit that fails
//! acknowledges nothing, neither its own group nor any after it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};

use super::frame::Version;
use crate::journal::{self, Seq};

/// Resolves once the samples of a group are on the disk.
pub(super) type Durable = Pin<Box<dyn Future<Output = Result<Seq, journal::Error>> + Send>>;

pub(super) struct AckQueue {
    version: Version,
    /// Ids that may wait at the most.
    window: usize,
    /// Packet id and v5 reason, oldest first.
    ids: VecDeque<(u16, u8)>,
    groups: VecDeque<Group>,
    /// Ids at the end of `ids` that belong to no group yet.
    open: usize,
}

struct Group {
    /// `None`: there is nothing to wait for but the groups before it.
    commit: Option<Durable>,
    ids: usize,
}

/// The journal failed; so many publishes stay without acknowledgement.
#[derive(Debug)]
pub(super) struct Unacknowledged(pub usize, pub journal::Error);

impl AckQueue {
    pub(super) fn new(version: Version, window: usize) -> Self {
        Self { version, window, ids: VecDeque::new(), groups: VecDeque::new(), open: 0 }
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }

    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn push(&mut self, pkid: u16, reason: u8) {
        self.ids.push_back((pkid, reason));
        self.open += 1;
    }

    /// The ids pushed since the last call share this commit.
    pub(super) fn close_group(&mut self, commit: Option<Durable>) {
        if self.open > 0 {
            self.groups.push_back(Group { commit, ids: self.open });
            self.open = 0;
        }
    }

    /// Is there a group that `poll_durable` could wait for?
    pub(super) fn waits(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Ready when the group at the front may be acknowledged; looks at those behind it as well, so that
    /// one call of `release` writes for all of them.
    pub(super) fn poll_durable(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Unacknowledged>> {
        let mut ready = false;
        for group in &mut self.groups {
            if let Some(commit) = &mut group.commit {
                match commit.as_mut().poll(task) {
                    Poll::Ready(Ok(_)) => group.commit = None,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Unacknowledged(self.ids.len(), error))),
                    Poll::Pending => break,
                }
            }
            ready = true;
        }
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Writes the PUBACKs of the groups at the front that have nothing left to wait for.
    pub(super) fn release(&mut self, out: &mut BytesMut) {
        while let Some(group) = self.groups.front()
            && group.commit.is_none()
        {
            for (pkid, reason) in self.ids.drain(..group.ids) {
                put_puback(out, self.version, pkid, reason);
            }
            self.groups.pop_front();
        }
    }
}

fn put_puback(out: &mut BytesMut, version: Version, pkid: u16, reason: u8) {
    let [high, low] = pkid.to_be_bytes();
    if version == Version::V5 && reason != 0 {
        out.put_slice(&[0x40, 3, high, low, reason]);
    } else {
        out.put_slice(&[0x40, 2, high, low]);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn waiting() -> (oneshot::Sender<Seq>, Option<Durable>) {
        let (done, commit) = oneshot::channel::<Seq>();
        (done, Some(Box::pin(async move { commit.await.map_err(|_| journal::Error::Closed) })))
    }

    fn release(queue: &mut AckQueue) -> Result<Vec<u8>, usize> {
        let mut out = BytesMut::new();
        let mut task = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(Err(Unacknowledged(count, _))) = queue.poll_durable(&mut task) {
            return Err(count);
        }
        queue.release(&mut out);
        Ok(out.to_vec())
    }

    #[test]
    fn nothing_is_acknowledged_before_it_is_durable_and_never_out_of_order() {
        let mut queue = AckQueue::new(Version::V5, 4);
        let (first, commit) = waiting();
        queue.push(1, 0);
        queue.push(2, 0x99);
        queue.close_group(commit);
        let (second, commit) = waiting();
        queue.push(3, 0);
        queue.close_group(commit);
        // Nothing to store, but its turn has not come.
        queue.push(4, 0x99);
        queue.close_group(None);
        assert!(queue.is_full());
        assert_eq!(release(&mut queue), Ok(vec![]));
        second.send(8).unwrap();
        assert_eq!(release(&mut queue), Ok(vec![]), "the first group is not durable yet");
        first.send(7).unwrap();
        assert_eq!(
            release(&mut queue),
            Ok(vec![0x40, 2, 0, 1, 0x40, 3, 0, 2, 0x99, 0x40, 2, 0, 3, 0x40, 3, 0, 4, 0x99])
        );
        assert!(queue.is_empty() && !queue.waits());
    }

    #[test]
    fn a_failed_commit_acknowledges_nothing() {
        let mut queue = AckQueue::new(Version::V311, 10);
        let (first, commit) = waiting();
        queue.push(1, 0);
        queue.close_group(commit);
        queue.push(2, 0);
        queue.close_group(None);
        drop(first);
        assert_eq!(release(&mut queue), Err(2));
        assert!(!queue.is_empty());
    }

    #[test]
    fn a_group_without_ids_is_not_waited_for() {
        let mut queue = AckQueue::new(Version::V311, 10);
        queue.close_group(waiting().1);
        assert!(!queue.waits());
    }
}
