//! What a closure sees beyond its own point at one moment, and what it can be asked.
//!
//! The engine looks around before the verdict and fills an [`Around`]; native programs and Rhai ask the very
//! same functions. A member counts with its value while it is usable and fresh. One that is bad, or silent
//! for longer than its period and a second, is broken; one that Davy has only begun to listen to is awaited.
//! Never: a value that is not fresh, and never "no alarm" because a sensor is broken.

use std::rc::Rc;

use crate::engine::Past;
use crate::model::{Grade, PointIndex, Quality, SiteState};

use super::Comparison;
use super::outlook::Outlook;

/// A point as others see it now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Usable and fresh.
    Usable(f64),
    /// Bad, or silent for longer than its patience.
    Broken,
    /// Nothing was heard yet, and it is not time to worry.
    Awaited,
}

/// What the engine lends of one point.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub standing: Standing,
    pub quality: Quality,
    /// Since anything was heard of it.
    pub age_s: f64,
    pub past: &'a Past,
}

/// The members of one selector.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub points: Rc<[PointIndex]>,
    /// In the order of `points`.
    pub standings: Vec<Standing>,
    /// The usable ones, ascending.
    values: Vec<f64>,
    /// Quality and age of a member that is alone.
    quality: Quality,
    age_s: f64,
    /// The own point votes with the group.
    own_votes: bool,
}

/// What is asked of a group without more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAsk {
    Value,
    Age,
    Max,
    Min,
    Mean,
    Median,
    Sum,
    Spread,
    Known,
    Size,
}

impl GroupAsk {
    pub const ALL: [(&'static str, Self); 10] = [
        ("value", Self::Value),
        ("age", Self::Age),
        ("max", Self::Max),
        ("min", Self::Min),
        ("mean", Self::Mean),
        ("median", Self::Median),
        ("sum", Self::Sum),
        ("spread", Self::Spread),
        ("known", Self::Known),
        ("size", Self::Size),
    ];

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, ask)| *ask)
    }
}

/// What a vote is about.
#[derive(Clone, Copy, Debug)]
pub struct Motion {
    /// So many have to agree when all sensors work.
    pub k: usize,
    pub comparison: Comparison,
    pub limit: f64,
}

/// Everything that one closure sees around its point.
#[derive(Clone, Debug)]
pub struct Around {
    /// In the order of the closure's selectors.
    pub groups: Vec<Group>,
    /// In the order of the windows that the closure asks of other points.
    pub windows: Vec<Option<f64>>,
    /// In the order of the seasons that the closure names; `None`: nobody knows such a season.
    pub seasons: Vec<Option<bool>>,
    pub site: SiteState,
    /// Local hour of the day with its fraction.
    pub hour: f64,
    pub own: Standing,
    /// The alarm stands: a broken sensor that could have voted for it keeps it standing.
    pub holding: bool,
}

impl Default for Around {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            windows: Vec::new(),
            seasons: Vec::new(),
            site: SiteState::default(),
            hour: 0.0,
            own: Standing::Awaited,
            holding: false,
        }
    }
}

impl Around {
    /// Looks at the points of an outlook; what was seen before is forgotten, its room is kept.
    pub fn look<'a>(&mut self, outlook: &Outlook, member: impl Fn(PointIndex) -> Option<Member<'a>>) {
        self.groups.resize_with(outlook.groups.len(), Group::default);
        for (group, wanted) in self.groups.iter_mut().zip(&outlook.groups) {
            group.look(&wanted.points, &member);
            group.own_votes = wanted.own_votes;
        }
        self.windows.clear();
        self.windows.extend(outlook.windows.iter().map(|wanted| {
            let wanted = wanted.as_ref()?;
            let member = member(wanted.point)?;
            match member.standing {
                Standing::Usable(_) => member.past.over(wanted.place, wanted.over),
                Standing::Broken | Standing::Awaited => None,
            }
        }));
    }

    #[must_use]
    pub fn ask(&self, group: usize, ask: GroupAsk) -> Option<f64> {
        self.groups.get(group)?.ask(ask)
    }

    /// How many usable members are at or beyond a limit.
    #[must_use]
    pub fn count(&self, group: usize, comparison: Comparison, limit: f64) -> Option<f64> {
        let group = self.groups.get(group).filter(|group| !group.points.is_empty() && limit.is_finite())?;
        (!group.values.is_empty())
            .then(|| group.values.iter().filter(|value| comparison.of(**value, limit)).count() as f64)
    }

    #[must_use]
    pub fn vote(&self, group: usize, motion: Motion) -> Option<bool> {
        self.groups.get(group)?.vote(motion, self.own, self.holding)
    }

    /// Of a member that is alone; the reasons are those of its newest sample.
    #[must_use]
    pub fn quality(&self, group: usize) -> Option<Quality> {
        self.groups.get(group).filter(|group| group.points.len() == 1).map(|group| group.quality)
    }

    /// Of a member that is alone: bad, too, when it is silent.
    #[must_use]
    pub fn grade(&self, group: usize) -> Option<Grade> {
        let group = self.groups.get(group).filter(|group| group.points.len() == 1)?;
        match group.standings.first()? {
            Standing::Usable(_) => Some(group.quality.grade()),
            Standing::Broken => Some(Grade::Bad),
            Standing::Awaited => None,
        }
    }
}

impl Group {
    fn look<'a>(&mut self, points: &Rc<[PointIndex]>, member: impl Fn(PointIndex) -> Option<Member<'a>>) {
        self.points.clone_from(points);
        self.standings.clear();
        self.values.clear();
        for point in points.iter() {
            let seen = member(*point);
            let standing = seen.map_or(Standing::Awaited, |seen| seen.standing);
            if let Standing::Usable(value) = standing {
                self.values.push(value);
            }
            self.standings.push(standing);
            (self.quality, self.age_s) = seen.map_or((Quality::GOOD, 0.0), |seen| (seen.quality, seen.age_s));
        }
        self.values.sort_unstable_by(f64::total_cmp);
    }

    fn ask(&self, ask: GroupAsk) -> Option<f64> {
        let (low, high) = (self.values.first().copied(), self.values.last().copied());
        let (size, known) = (self.points.len(), self.values.len());
        match ask {
            GroupAsk::Value if size == 1 => low,
            GroupAsk::Age if size == 1 => Some(self.age_s),
            GroupAsk::Value | GroupAsk::Age => None,
            GroupAsk::Max => high,
            GroupAsk::Min => low,
            GroupAsk::Mean => low.map(|_| self.values.iter().sum::<f64>() / known as f64),
            GroupAsk::Median if known % 2 == 1 => Some(self.values[known / 2]),
            // Halved first: two large values must not meet in infinity.
            GroupAsk::Median => low.map(|_| self.values[known / 2 - 1] / 2.0 + self.values[known / 2] / 2.0),
            GroupAsk::Sum => low.map(|_| self.values.iter().sum()),
            GroupAsk::Spread => Some(high? - low?),
            GroupAsk::Known => (size > 0).then_some(known as f64),
            GroupAsk::Size => (size > 0).then_some(size as f64),
        }
    }

    /// k of n agree. With b of the n broken, k falls to k - b, but never below one: 2oo3, 1oo2, 1oo1. Nobody
    /// usable: unknown. While the alarm stands, it is unknown too where the broken ones could have made k.
    fn vote(&self, motion: Motion, own: Standing, holding: bool) -> Option<bool> {
        if self.points.is_empty() || !motion.limit.is_finite() {
            return None;
        }
        let (mut all, mut agree, mut broken, mut awaited) = (0_usize, 0_usize, 0_usize, 0_usize);
        for voter in self.standings.iter().copied().chain(self.own_votes.then_some(own)) {
            all += 1;
            match voter {
                Standing::Usable(value) => agree += usize::from(motion.comparison.of(value, motion.limit)),
                Standing::Broken => broken += 1,
                Standing::Awaited => awaited += 1,
            }
        }
        if broken + awaited == all {
            return None;
        }
        let k = motion.k.min(all);
        let needed = k.saturating_sub(broken).max(1);
        if agree >= needed {
            return Some(true);
        }
        let could_be = agree + awaited >= needed || (holding && agree + awaited + broken >= k);
        (!could_be).then_some(false)
    }
}

#[cfg(test)]
mod tests;
