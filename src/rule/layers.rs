//! What people have set over the rules' limits, found by point.
//!
//! In come the configuration's limits, orders and the passing of days; out go the limits and exemptions at a
//! point, and, for each change, the points that it concerns. An order looks at the points it names and at no
//! other: there may be hundreds of thousands. What they are worth is not decided here.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::journal::Setup;
use crate::model::{Calendar, Exemption, Point, PointIndex, Scope, SetLimit, Timestamp, fits};

/// What people have set and nobody has ended, found by point.
#[derive(Debug, Default)]
pub struct Layers {
    configured: Vec<Rc<SetLimit>>,
    set: Vec<Rc<SetLimit>>,
    exemptions: Vec<Rc<Exemption>>,
    calendar: Calendar,
    /// Seasons are those of this moment's local day.
    at: Timestamp,
    here: HashMap<PointIndex, Here>,
    /// All points in the order of their ids, so that an order finds its own without looking at all of them.
    by_id: Vec<PointIndex>,
}

#[derive(Debug, Default)]
struct Here {
    limits: Vec<Rc<SetLimit>>,
    exemptions: Vec<Rc<Exemption>>,
}

/// What of it cannot be had from the setup again: orders in force, and the moment of the seasons.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ordered {
    pub limits: Vec<SetLimit>,
    pub exemptions: Vec<Exemption>,
    pub at: Timestamp,
}

impl Layers {
    /// What is ordered, laid over the points and the configuration's limits.
    #[must_use]
    pub fn of(setup: &Setup, ordered: Ordered) -> Self {
        let mut layers = Self {
            set: ordered.limits.into_iter().map(Rc::new).collect(),
            exemptions: ordered.exemptions.into_iter().map(Rc::new).collect(),
            ..Self::default()
        };
        layers.lay(setup, ordered.at);
        layers
    }

    /// New points and configuration; what is ordered stays.
    pub fn lay(&mut self, setup: &Setup, at: Timestamp) {
        self.configured = setup.limits.iter().cloned().map(Rc::new).collect();
        self.calendar.clone_from(&setup.calendar);
        self.at = at;
        self.by_id = (0_u32..).map(PointIndex).take(setup.points.len()).collect();
        self.by_id.sort_by(|a, b| setup.points[a.at()].id.cmp(&setup.points[b.at()].id));
        self.here = HashMap::new();
        let all: Vec<Rc<SetLimit>> = self.configured.iter().chain(&self.set).cloned().collect();
        for limit in all {
            self.put(&limit, &setup.points);
        }
        for exemption in &self.exemptions {
            for point in &exemption.points {
                self.here.entry(*point).or_default().exemptions.push(exemption.clone());
            }
        }
    }

    #[must_use]
    pub fn ordered(&self) -> Ordered {
        Ordered {
            limits: self.set.iter().map(|limit| (**limit).clone()).collect(),
            exemptions: self.exemptions.iter().map(|exemption| (**exemption).clone()).collect(),
            at: self.at,
        }
    }

    pub fn exemptions(&self) -> impl Iterator<Item = &Exemption> {
        self.exemptions.iter().map(|exemption| &**exemption)
    }

    #[must_use]
    pub const fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    #[must_use]
    pub fn in_season(&self, season: &str, site: &str) -> bool {
        self.calendar.in_season(season, site, self.at)
    }

    #[must_use]
    pub fn any_at(&self, point: PointIndex) -> bool {
        self.here.contains_key(&point)
    }

    pub fn limits_at(&self, point: PointIndex) -> impl Iterator<Item = &SetLimit> {
        self.here.get(&point).into_iter().flat_map(|here| &here.limits).map(|limit| &**limit)
    }

    pub fn exemptions_at(&self, point: PointIndex) -> impl Iterator<Item = &Exemption> {
        self.here.get(&point).into_iter().flat_map(|here| &here.exemptions).map(|exemption| &**exemption)
    }

    /// How many limits were set and not ended.
    #[must_use]
    pub fn set_count(&self) -> usize {
        self.set.len()
    }

    /// The limit that this one would replace.
    #[must_use]
    pub fn replaced_by(&self, limit: &SetLimit) -> Option<Rc<SetLimit>> {
        self.set.iter().find(|known| limit.replaces(known)).cloned()
    }

    #[must_use]
    pub fn limit(&self, id: &str) -> Option<Rc<SetLimit>> {
        self.set.iter().find(|known| known.id == id).cloned()
    }

    /// Takes in a limit; returns the one that it replaces, and the points that it is about.
    pub fn set(&mut self, limit: SetLimit, points: &[Point]) -> (Option<Rc<SetLimit>>, Vec<PointIndex>) {
        let old = self.set.iter().position(|known| limit.replaces(known)).map(|place| self.set.remove(place));
        if let Some(old) = &old {
            self.take(old, points);
        }
        let limit = Rc::new(limit);
        self.set.push(limit.clone());
        let reached = self.put(&limit, points);
        (old, reached)
    }

    /// Ends a limit that was set; `None` when there is no such one.
    pub fn end(&mut self, id: &str, points: &[Point]) -> Option<(Rc<SetLimit>, Vec<PointIndex>)> {
        let place = self.set.iter().position(|known| known.id == id)?;
        let limit = self.set.remove(place);
        let reached = self.take(&limit, points);
        Some((limit, reached))
    }

    pub fn exempt(&mut self, exemption: Exemption) {
        let exemption = Rc::new(exemption);
        for point in &exemption.points {
            self.here.entry(*point).or_default().exemptions.push(exemption.clone());
        }
        self.exemptions.push(exemption);
    }

    /// Ends an exemption; `None` when there is no such one.
    pub fn end_exemption(&mut self, id: &str) -> Option<Rc<Exemption>> {
        let place = self.exemptions.iter().position(|known| known.id == id)?;
        let exemption = self.exemptions.remove(place);
        for point in &exemption.points {
            if let Some(here) = self.here.get_mut(point) {
                here.exemptions.retain(|known| known.id != id);
            }
        }
        Some(exemption)
    }

    /// Time has passed. Returns the points whose season may have changed, which only a new local day brings.
    pub fn pass(&mut self, now: Timestamp) -> Vec<PointIndex> {
        if self.calendar.day(now) == self.calendar.day(self.at) {
            return Vec::new();
        }
        self.at = now;
        let seasonal = |here: &Here| here.limits.iter().any(|limit| limit.season.is_some());
        let mut points: Vec<PointIndex> =
            self.here.iter().filter(|(_, here)| seasonal(here)).map(|(point, _)| *point).collect();
        points.sort_unstable();
        points
    }

    /// The points, without retired ones, that a scope names, in the order of their numbers; `points` are those of
    /// the setup that was laid last.
    #[must_use]
    pub fn reach(&self, scope: &Scope, points: &[Point]) -> Vec<PointIndex> {
        let by_id = &self.by_id;
        // What begins alike stands together: a pattern is compared with those only.
        let alike = |prefix: &str| {
            let from = by_id.partition_point(|index| &*points[index.at()].id < prefix);
            let length = by_id[from..].partition_point(|index| points[index.at()].id.starts_with(prefix));
            by_id[from..from + length].iter().copied().filter(|index| !points[index.at()].retired)
        };
        let mut reached = BTreeSet::new();
        match scope {
            Scope::Site(site) => {
                reached.extend(alike(&format!("{site}.")).filter(|index| points[index.at()].site == *site));
            }
            Scope::Points(patterns) => {
                for pattern in patterns {
                    let prefix = pattern.split('*').next().unwrap_or_default();
                    reached.extend(alike(prefix).filter(|index| fits(pattern, &points[index.at()].id)));
                }
            }
        }
        reached.into_iter().collect()
    }

    fn put(&mut self, limit: &Rc<SetLimit>, points: &[Point]) -> Vec<PointIndex> {
        let reached = self.reach(&limit.scope, points);
        for point in &reached {
            self.here.entry(*point).or_default().limits.push(limit.clone());
        }
        reached
    }

    fn take(&mut self, limit: &SetLimit, points: &[Point]) -> Vec<PointIndex> {
        let reached = self.reach(&limit.scope, points);
        for point in &reached {
            if let Some(here) = self.here.get_mut(point) {
                here.limits.retain(|known| known.id != limit.id);
            }
        }
        reached
    }
}
