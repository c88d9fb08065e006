//! Samples out of the history, in pieces of time over all points.
//!
//! A piece is as long as its samples are few: a day for some points, a minute for a hundred thousand. What a
//! sensor's clock says may be ahead of Davy's, so a piece is whole only up to a minute before its end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Feed, HELD_SAMPLES};
use crate::history::{Look, Told};
use crate::model::{Point, PointIndex, Timestamp};

/// Source times are at most this far ahead of the time of arrival, see `Sample::received`.
const AHEAD: Duration = Duration::from_secs(61);
const LONGEST: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_secs(1);

/// Stored samples of some points between two moments.
#[derive(Debug)]
pub struct Stored {
    look: Look,
    points: Vec<(PointIndex, String)>,
    at: Timestamp,
    to: Timestamp,
    piece: Duration,
    most: usize,
}

impl Stored {
    /// `folder` is the history's. Points that are retired are left out.
    pub fn open(folder: &Path, points: &[Point]) -> Result<Self, Error> {
        let look = Look::at(folder)?;
        if look.span().is_none() {
            let folder = folder.display();
            let told = format!("{folder}: nothing is stored here yet; a sample is on the disk a minute after it came");
            return Err(Error::Asked(told));
        }
        let wanted = (0_u32..).map(PointIndex).zip(points).filter(|(_, point)| !point.retired);
        let points = wanted.map(|(index, point)| (index, point.id.to_string())).collect();
        let (at, to) = (Timestamp::MIN, Timestamp::MIN);
        Ok(Self { look, points, at, to, piece: Duration::from_secs(3_600), most: HELD_SAMPLES / 2 })
    }

    /// No more samples than this in a piece, unless a second of them is more.
    #[must_use]
    pub fn holding(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// When the newest sample in the files was taken.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.look.span().map(|(_, newest)| newest)
    }

    /// Files that could not be read; what they hold was not judged.
    #[must_use]
    pub fn unreadable(&self) -> &[PathBuf] {
        self.look.unreadable()
    }

    /// False when there are too many for one piece.
    fn read(&mut self, end: Timestamp, into: &mut Vec<Told>) -> Result<bool, Error> {
        let before = into.len();
        for (index, id) in &self.points {
            self.look.read((*index, id), self.at, end, into)?;
            if into.len() - before > self.most && self.piece > SHORTEST {
                into.truncate(before);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Feed for Stored {
    fn begin(&mut self, begun: Timestamp, to: Timestamp) {
        let (first, last) = self.look.span().unwrap_or((begun, begun));
        self.at = (begun - AHEAD).max(first);
        self.to = (to + AHEAD).min(last + Duration::from_micros(1));
    }

    fn next(&mut self, into: &mut Vec<Told>) -> Result<Option<Timestamp>, Error> {
        if self.at >= self.to {
            return Ok(None);
        }
        let before = into.len();
        let mut end = (self.at + self.piece).min(self.to);
        while !self.read(end, into)? {
            self.piece = (self.piece / 4).max(SHORTEST);
            end = (self.at + self.piece).min(self.to);
        }
        if into.len() - before < self.most / 4 {
            self.piece = (self.piece * 2).min(LONGEST);
        }
        self.at = end;
        Ok((end < self.to).then(|| end - AHEAD))
    }

    fn listened(&self) -> Vec<(Timestamp, Timestamp)> {
        self.look.listened().to_vec()
    }
}
