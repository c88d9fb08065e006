//! Footers of files that were read lately, so that a query need not parse them again. Bounded by bytes;
//! the one that was not used for longest goes first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::file::metadata::ParquetMetaData;

#[derive(Debug, Default)]
pub(super) struct Footers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    footers: HashMap<PathBuf, (Arc<ParquetMetaData>, usize, u64)>,
    bytes: usize,
    clock: u64,
}

impl Footers {
    const MOST_BYTES: usize = 16 << 20;

    pub fn get(&self, path: &Path) -> Option<Arc<ParquetMetaData>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let clock = kept.clock;
        let (footer, _, used) = kept.footers.get_mut(path)?;
        *used = clock;
        Some(footer.clone())
    }

    pub fn keep(&self, path: &Path, footer: &Arc<ParquetMetaData>) {
        let size = footer.memory_size();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let clock = kept.clock;
        if let Some((_, old, _)) = kept.footers.insert(path.to_owned(), (footer.clone(), size, clock)) {
            kept.bytes -= old;
        }
        kept.bytes += size;
        while kept.bytes > Self::MOST_BYTES && kept.footers.len() > 1 {
            let Some(oldest) = kept.footers.iter().min_by_key(|(_, (_, _, used))| *used).map(|(path, _)| path.clone())
            else {
                break;
            };
            if let Some((_, size, _)) = kept.footers.remove(&oldest) {
                kept.bytes -= size;
            }
        }
    }

    /// Of a file that is replaced or retired.
    pub fn forget(&self, path: &Path) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, size, _)) = kept.footers.remove(path) {
            kept.bytes -= size;
        }
    }
}
