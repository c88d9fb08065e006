//! What a user may do at the listener: publish, to which topics, for which points, and subscribe.
//!
//! In come topic filters and patterns of point ids as written; out comes yes or no for a topic and for a
//! point. Least privilege: a user of whom nothing is written may do nothing. A pattern is looked up against
//! the table of points once, so that a sample costs one look into a list of booleans.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{PointIndex, PointTable, fits};

/// What a connection may do.
#[derive(Clone, Debug)]
pub struct Rights {
    pub publish: Publish,
    pub subscribe: bool,
    /// Without it the samples of all points.
    pub(super) points: Option<Arc<Points>>,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    Nowhere,
    Anywhere,
    /// Topics that one of these filters matches.
    Topics(Arc<[String]>),
}

/// Patterns of point ids, such as `mine-a.*`.
#[derive(Debug)]
pub(super) struct Points {
    patterns: Vec<String>,
    found: Mutex<Option<Found>>,
}

/// What the patterns reach.
#[derive(Debug)]
struct Found {
    table: Arc<PointTable>,
    /// By index in that table.
    allowed: Arc<[bool]>,
}

impl Rights {
    /// Of an anonymous client.
    #[must_use]
    pub const fn everything() -> Self {
        Self { publish: Publish::Anywhere, subscribe: true, points: None }
    }

    pub(super) const fn nothing() -> Self {
        Self { publish: Publish::Nowhere, subscribe: false, points: None }
    }
}

impl Publish {
    pub(super) fn allows(&self, topic: &[u8]) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Anywhere => true,
            Self::Topics(filters) => std::str::from_utf8(topic)
                .is_ok_and(|topic| filters.iter().any(|filter| rumqttc::matches(topic, filter))),
        }
    }
}

impl Points {
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }

    pub(super) fn new(patterns: Vec<String>) -> Self {
        Self { patterns, found: Mutex::new(None) }
    }

    /// By index: may samples of that point be published?
    pub(super) fn among(&self, table: &Arc<PointTable>) -> Arc<[bool]> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*found
            && Arc::ptr_eq(&known.table, table)
        {
            return known.allowed.clone();
        }
        let allowed: Arc<[bool]> =
            table.iter().map(|(_, point)| self.patterns.iter().any(|pattern| fits(pattern, &point.id))).collect();
        *found = Some(Found { table: table.clone(), allowed: allowed.clone() });
        allowed
    }
}

/// Samples on their way from one connection.
pub(super) struct Sieve {
    points: Option<Arc<Points>>,
    table: Box<dyn Fn() -> Arc<PointTable> + Send + Sync>,
    allowed: Arc<[bool]>,
}

impl Sieve {
    /// `table` gives the points as they are now.
    pub(super) fn new(rights: &Rights, table: impl Fn() -> Arc<PointTable> + Send + Sync + 'static) -> Self {
        Self { points: rights.points.clone(), table: Box::new(table), allowed: Arc::new([]) }
    }

    pub(super) fn allows(&mut self, point: PointIndex) -> bool {
        let Some(points) = &self.points else { return true };
        if self.allowed.len() <= point.at() {
            // The first sample, or a point that is new: indices only ever grow.
            self.allowed = points.among(&(self.table)());
        }
        self.allowed.get(point.at()).copied().unwrap_or(false)
    }

    /// For the log.
    pub(super) fn name(&self, point: PointIndex) -> String {
        (self.table)().get(point).map_or_else(|| point.to_string(), |about| about.id.to_string())
    }
}
