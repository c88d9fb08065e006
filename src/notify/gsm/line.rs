//! Whose turn it is at a modem: one message at a time, the most urgent of those that wait first.
//!
//! In comes a message's priority; out comes a turn, which is the modem itself until it is dropped. A P1 waits for
//! the message that is being sent and for no other but P1s before it. No more than [`MOST`] wait, and none longer
//! than [`PATIENCE`]: whoever is sent away tries again, as after any failure. A waiter that leaves loses nobody's turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{MutexGuard, oneshot};

use super::modem::Modem;
use crate::alarm::Priority;
use crate::notify::Failure;

const MOST: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Line {
    modem: tokio::sync::Mutex<Modem>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    busy: bool,
    /// Counts those who came, for their order.
    came: u64,
    queue: BTreeMap<(Priority, u64), oneshot::Sender<Turn>>,
}

/// Leave to use the modem; passed on when it is dropped, on whatever way.
pub struct Turn(Arc<Line>);

/// The turn at once, or where it will come.
enum Place {
    Turn(Turn),
    Wait(oneshot::Receiver<Turn>),
}

impl Turn {
    pub async fn modem(&self) -> MutexGuard<'_, Modem> {
        self.0.modem.lock().await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Line {
    #[must_use]
    pub fn of(modem: Modem) -> Arc<Self> {
        Arc::new(Self { modem: tokio::sync::Mutex::new(modem), waiting: Mutex::default() })
    }

    pub async fn turn(self: &Arc<Self>, priority: Priority) -> Result<Turn, Failure> {
        let called = match self.come(priority)? {
            Place::Turn(turn) => return Ok(turn),
            Place::Wait(called) => called,
        };
        match tokio::time::timeout(PATIENCE, called).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Failure::temporary("the modem is busy with other messages")),
        }
    }

    fn come(self: &Arc<Self>, priority: Priority) -> Result<Place, Failure> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.busy {
            waiting.busy = true;
            return Ok(Place::Turn(Turn(self.clone())));
        }
        waiting.queue.retain(|_, waiter| !waiter.is_closed());
        // A more urgent one takes the place of the last, who tries again.
        if waiting.queue.len() >= MOST {
            match waiting.queue.last_key_value() {
                Some(((last, _), _)) if *last > priority => drop(waiting.queue.pop_last()),
                Some(_) | None => {
                    return Err(Failure::temporary(format!("{MOST} messages wait for the modem already")));
                }
            }
        }
        waiting.came += 1;
        let (call, called) = oneshot::channel();
        let place = (priority, waiting.came);
        waiting.queue.insert(place, call);
        Ok(Place::Wait(called))
    }

    fn pass_on(self: &Arc<Self>) {
        let next = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let next = waiting.queue.pop_first();
            waiting.busy = next.is_some();
            next
        };
        if let Some((_, call)) = next {
            // Whoever has left drops the turn, and so hands it on.
            drop(call.send(Turn(self.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Arc<Line> {
        Line::of(Modem::at(std::path::Path::new("/dev/null"), 9_600))
    }

    fn turn(line: &Arc<Line>, priority: Priority) -> Turn {
        match line.come(priority) {
            Ok(Place::Turn(turn)) => turn,
            Ok(Place::Wait(_)) | Err(_) => panic!("the modem is not free"),
        }
    }

    fn waits(line: &Arc<Line>, priority: Priority) -> oneshot::Receiver<Turn> {
        match line.come(priority) {
            Ok(Place::Wait(called)) => called,
            Ok(Place::Turn(_)) | Err(_) => panic!("there is nothing to wait for"),
        }
    }

    #[test]
    fn a_p1_goes_before_all_that_wait_and_whoever_leaves_costs_nobody_the_turn() {
        let line = line();
        let first = turn(&line, Priority::P4);
        let mut battery = waits(&line, Priority::P4);
        let mut gone = waits(&line, Priority::P1);
        let mut gas = waits(&line, Priority::P1);
        assert!(gone.try_recv().is_err(), "one message at a time");
        gone.close();
        drop(first);
        let gas = gas.try_recv().unwrap();
        assert!(battery.try_recv().is_err());
        drop(gas);
        // Its turn comes, and it leaves without having looked.
        let mut late = waits(&line, Priority::P4);
        drop(battery);
        drop(late.try_recv().unwrap());
        drop(turn(&line, Priority::P4));
    }

    #[test]
    fn only_so_many_wait_and_a_p1_is_never_sent_away_for_a_p4() {
        let line = line();
        let first = turn(&line, Priority::P1);
        let mut batteries: Vec<_> = (0..MOST).map(|_| waits(&line, Priority::P4)).collect();
        assert!(line.come(Priority::P4).is_err_and(|failure| failure.temporary));
        let mut gas = waits(&line, Priority::P1);
        let last = batteries.last_mut().unwrap();
        assert!(matches!(last.try_recv(), Err(oneshot::error::TryRecvError::Closed)), "it tries again");
        drop(first);
        assert!(gas.try_recv().is_ok());
    }
}
