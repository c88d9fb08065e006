//! The head: samples that are not in files yet, kept by point so that a flush need not sort them all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::engine::DOWN_TIME;
use crate::journal::Seq;
use crate::model::{PointId, PointIndex, PointTable, Sample, Timestamp};

use super::row::{Row, day_of};

/// Which slot a point's samples go to. Slots belong to ids: a point that was retired and set up again under
/// the same id has two numbers and one history.
#[derive(Debug, Default)]
pub(super) struct Names {
    slot_of: Vec<Option<u32>>,
    by_id: HashMap<PointId, u32, foldhash::fast::RandomState>,
    /// By slot; shared with the head that is being written.
    pub ids: Arc<Vec<PointId>>,
}

impl Names {
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).map(|slot| *slot as usize)
    }

    /// The slot of a point; `None`: the table does not know it.
    fn slot(&mut self, point: PointIndex, table: &PointTable) -> Option<usize> {
        if let Some(Some(slot)) = self.slot_of.get(point.at()) {
            return Some(*slot as usize);
        }
        let id = table.get(point)?.id.clone();
        let slot = self.intern(id);
        if self.slot_of.len() <= point.at() {
            self.slot_of.resize(point.at() + 1, None);
        }
        self.slot_of[point.at()] = Some(slot);
        Some(slot as usize)
    }

    /// Where samples go whose point nobody knows: kept under a name that says so.
    fn unknown(&mut self, point: PointIndex) -> usize {
        self.intern(PointId::from(format!("unknown.{}", point.0))) as usize
    }

    fn intern(&mut self, id: PointId) -> u32 {
        let next = u32::try_from(self.ids.len()).expect("there are no more ids than point numbers, which are u32");
        *self.by_id.entry(id.clone()).or_insert_with(|| {
            Arc::make_mut(&mut self.ids).push(id);
            next
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Head {
    /// By slot, in the order of arrival.
    piles: Vec<Vec<Row>>,
    rows: usize,
    pub ids: Arc<Vec<PointId>>,
    /// First entry in it; 0 when empty.
    pub first_seq: Seq,
    /// Newest entry that was taken, here or before.
    pub last_seq: Seq,
    pub newest_received: Timestamp,
}

impl Head {
    /// Empty; takes entries after `seq`.
    pub fn behind(seq: Seq) -> Self {
        Self { last_seq: seq, newest_received: Timestamp::MIN, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns how many samples have no point in the table. `clock` is where ticks stand, as the engine sees it.
    pub fn append(
        &mut self,
        seq: Seq,
        samples: &[Sample],
        table: &PointTable,
        names: &mut Names,
        clock: &mut Timestamp,
    ) -> u64 {
        let mut unknown = 0;
        for sample in samples {
            let slot = names.slot(sample.point, table).unwrap_or_else(|| {
                unknown += 1;
                names.unknown(sample.point)
            });
            if self.piles.len() <= slot {
                self.piles.resize_with(slot + 1, Vec::new);
            }
            let arrived = Row::arrived(sample.source_time, behind(clock, sample.receive_time));
            let (time, value, quality) = (sample.source_time.micros(), sample.value, sample.quality);
            let row = Row { time, value, quality, arrived };
            self.piles[slot].push(row);
            self.newest_received = self.newest_received.max(sample.receive_time);
        }
        if self.rows == 0 {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        self.rows += samples.len();
        unknown
    }

    /// The samples of a slot within `[from, to)`, in the order of arrival.
    pub fn within(&self, slot: usize, from: i64, to: i64) -> impl Iterator<Item = &Row> {
        self.piles.get(slot).into_iter().flatten().filter(move |row| (from..to).contains(&row.time))
    }

    pub fn days(&self) -> BTreeSet<i64> {
        let mut days = BTreeSet::new();
        for pile in &self.piles {
            let mut last = None;
            for day in pile.iter().map(|row| day_of(row.time)) {
                if last.replace(day) != Some(day) {
                    days.insert(day);
                }
            }
        }
        days
    }

    /// The piles that hold something, in the order of their ids.
    pub fn by_id(&self) -> Vec<(&PointId, &[Row])> {
        let mut piles: Vec<_> = self
            .ids
            .iter()
            .zip(&self.piles)
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(id, rows)| (id, &rows[..]))
            .collect();
        piles.sort_unstable_by(|a, b| a.0.cmp(b.0));
        piles
    }
}

/// The tick behind which a sample is judged; the engine brings ticks forward that are under way.
fn behind(clock: &mut Timestamp, received: Timestamp) -> Timestamp {
    let tick = received.tick();
    if received + DOWN_TIME < *clock {
        return tick;
    }
    *clock = (*clock).max(tick);
    *clock
}
