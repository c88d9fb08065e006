//! One process a folder: a lock file that is held for as long as its handle is open.
//!
//! In comes a folder, out goes the handle that keeps everybody else away. The kernel lets go of it when the
//! holder dies, however it dies; so a lock that is found taken may be about to fall: the process before us is
//! still being buried, or another thread of ours has just forked a child, which shares the handle until it
//! runs its own program. Therefore a taken lock is asked for again for a moment before it is believed.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::clock::Stopwatch;

/// How long a taken lock is doubted.
const PATIENCE: Duration = Duration::from_secs(2);

/// Claims a folder through its file `lock`; `None`: somebody else has it and keeps it.
pub fn claim(folder: &Path) -> std::io::Result<Option<File>> {
    let lock = File::create(folder.join("lock"))?;
    let waiting = Stopwatch::start();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if waiting.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    /// A child shares every handle of its parent between fork and exec, locks included.
    #[test]
    fn a_child_that_is_being_started_does_not_look_like_another_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
            let lost = (0..2_000).filter(|_| claim(folder.path()).unwrap().is_none()).count();
            done.store(true, Relaxed);
            assert_eq!(lost, 0, "claims refused although nobody else held the folder");
        });
    }

    #[test]
    fn a_folder_that_is_held_stays_held() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim(folder.path()).unwrap();
        assert!(claim(folder.path()).unwrap().is_none());
        drop(first);
        assert!(claim(folder.path()).unwrap().is_some());
    }
}
