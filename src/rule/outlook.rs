//! What a rule looks at from one point: selectors laid over the point table, once, when a setup is loaded.
//!
//! In come the rules' [`Asks`], the points with their relations and the calendar; out comes for each watch an
//! [`Outlook`] of point indices and window places, for each point the points whose rules look at it, and what
//! is wrong or remarkable. The cost of a verdict is the number of points it looks at, and every entry of the
//! journal asks a rule at a point once at the most, so a group of n points in which each looks at all costs
//! n² steps a round; [`MOST_MEMBERS`] bounds it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::around::{Asks, Selector};
use super::plan::Watch;
use super::{Judges, Plan, RuleProblem};
use crate::engine::{MOST_SAMPLES, Over, expected};
use crate::journal::Setup;
use crate::model::{Kind, NEIGHBOUR, Point, PointIndex, REDUNDANT, SiteId, parse_duration};

/// A rule that looks at more points than this at once asks for a report, not for a verdict.
pub const MOST_MEMBERS: usize = 256;

/// The points of one selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    pub points: Rc<[PointIndex]>,
    /// The watching point is of their kind and unit and not among them: it votes with them.
    pub own_votes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlacedWindow {
    pub point: PointIndex,
    /// Place among the windows of that point.
    pub place: usize,
    pub over: Over,
}

/// What one closure looks at from one point, in the order of its [`Asks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    pub groups: Vec<Members>,
    /// `None` where the group is not one point alone.
    pub windows: Vec<Option<PlacedWindow>>,
    /// Places among the plan's seasons; `None` for one that the calendar does not know.
    pub seasons: Vec<Option<usize>>,
}

/// Of the two closures of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlooks {
    pub raise: Outlook,
    pub clear: Outlook,
}

impl Outlooks {
    /// Is there nothing to look at?
    pub fn is_empty(&self) -> bool {
        let nobody = |outlook: &Outlook| outlook.groups.iter().all(|group| group.points.is_empty());
        [&self.raise, &self.clear].into_iter().all(|outlook| nobody(outlook) && outlook.seasons.is_empty())
    }
}

/// Who is what to whom.
struct Field<'a> {
    points: &'a [Point],
    by_id: HashMap<&'a str, PointIndex>,
    by_site: HashMap<&'a str, Vec<PointIndex>>,
    related: HashMap<(PointIndex, &'a str), Vec<PointIndex>>,
    /// `all(..)` of a site is the same list for all its points.
    all: HashMap<(SiteId, Kind, String), Rc<[PointIndex]>>,
    /// Which of these hold points in different units, by where they lie.
    mixed: HashMap<*const PointIndex, bool>,
}

impl<'a> Field<'a> {
    fn new(points: &'a [Point]) -> Self {
        let alive = || points.iter().zip((0_u32..).map(PointIndex)).filter(|(point, _)| !point.retired);
        let by_id: HashMap<&str, PointIndex> = alive().map(|(point, index)| (&*point.id, index)).collect();
        let mut related: HashMap<(PointIndex, &str), BTreeSet<PointIndex>> = HashMap::new();
        for (point, index) in alive() {
            for (word, names) in &point.relations {
                let named = names.iter().filter_map(|name| by_id.get(&*format!("{}.{name}", point.site)).copied());
                for other in named.filter(|other| *other != index) {
                    related.entry((index, word)).or_default().insert(other);
                    if word == REDUNDANT || word == NEIGHBOUR {
                        related.entry((other, word)).or_default().insert(index);
                    }
                }
            }
        }
        let redundant: Vec<PointIndex> =
            related.keys().filter(|(_, word)| *word == REDUNDANT).map(|(index, _)| *index).collect();
        let mut rings: HashMap<PointIndex, Vec<PointIndex>> = HashMap::new();
        for index in redundant {
            // Everything that can be reached: a ring needs to be said once.
            let (mut ring, mut next) = (BTreeSet::from([index]), vec![index]);
            while let Some(from) = next.pop() {
                let others = related.get(&(from, REDUNDANT)).into_iter().flatten();
                next.extend(others.filter(|other| ring.insert(**other)));
            }
            ring.remove(&index);
            rings.insert(index, ring.into_iter().collect());
        }
        let mut related: HashMap<(PointIndex, &str), Vec<PointIndex>> =
            related.into_iter().map(|(key, others)| (key, others.into_iter().collect())).collect();
        related.extend(rings.into_iter().map(|(index, ring)| ((index, REDUNDANT), ring)));
        let mut by_site: HashMap<&str, Vec<PointIndex>> = HashMap::new();
        alive().for_each(|(point, index)| by_site.entry(&*point.site).or_default().push(index));
        Self { points, by_id, by_site, related, all: HashMap::new(), mixed: HashMap::new() }
    }

    fn members(&mut self, selector: &Selector, index: PointIndex) -> Rc<[PointIndex]> {
        let point = &self.points[index.at()];
        match selector {
            Selector::Point(name) => self.by_id.get(&*format!("{}.{name}", point.site)).copied().into_iter().collect(),
            Selector::Related(word) => self.related.get(&(index, word)).into_iter().flatten().copied().collect(),
            Selector::All(kind, place) => {
                let (points, here) = (self.points, self.by_site.get(&*point.site));
                let list = self.all.entry((point.site.clone(), *kind, place.clone())).or_insert_with(|| {
                    let fits = |index: &&PointIndex| {
                        let other = &points[index.at()];
                        other.kind == *kind && (place.is_empty() || other.place == *place)
                    };
                    here.into_iter().flatten().filter(fits).copied().collect()
                });
                list.clone()
            }
        }
    }

    /// A list that all points of a site share is looked through once.
    fn differ_in_unit(&mut self, selector: &Selector, members: &Rc<[PointIndex]>) -> bool {
        if members.is_empty() {
            return false;
        }
        let points = self.points;
        let unit = |member: &PointIndex| &*points[member.at()].unit;
        let differ = || members.iter().any(|member| unit(member) != unit(&members[0]));
        match selector {
            Selector::All(..) => *self.mixed.entry(Rc::as_ptr(members).cast()).or_insert_with(differ),
            Selector::Point(_) | Selector::Related(_) => differ(),
        }
    }

    fn own_votes(&self, selector: &Selector, index: PointIndex, members: &[PointIndex]) -> bool {
        let own = &self.points[index.at()];
        let like = |other: &PointIndex| {
            let other = &self.points[other.at()];
            (other.kind, &other.unit) == (own.kind, &own.unit)
        };
        match selector {
            Selector::Point(_) | Selector::Related(_) => !members.contains(&index) && members.iter().all(like),
            Selector::All(..) => false,
        }
    }
}

/// Gives every watch of a rule that looks around its outlooks, and every point its onlookers.
pub fn resolve(plan: &mut Plan, setup: &Setup) {
    if !plan.rules.iter().any(|compiled| compiled.looks()) {
        return;
    }
    let mut field = Field::new(&setup.points);
    let mut notes = Notes::default();
    for (point, at) in setup.points.iter().zip((0_u32..).map(PointIndex)) {
        let mut watches = std::mem::take(&mut Rc::make_mut(&mut plan.points[at.at()]).watches);
        for watch in &mut watches {
            outlook(plan, setup, &mut field, (point, at), watch, &mut notes);
        }
        Rc::make_mut(&mut plan.points[at.at()]).watches = watches;
    }
    notes.tell(plan, setup);
}

fn outlook(
    plan: &mut Plan,
    setup: &Setup,
    field: &mut Field<'_>,
    (point, at): (&Point, PointIndex),
    watch: &mut Watch,
    notes: &mut Notes,
) {
    let compiled = &plan.rules[watch.rule];
    if !compiled.looks() {
        return;
    }
    let listens = compiled.rule.judges == Judges::Samples;
    let asked = [Some(compiled.raise.beyond.clone()), compiled.clear.as_ref().map(|clear| clear.beyond.clone())];
    let [raise, clear] = asked.map(|asks| {
        let Some(asks) = asks else { return Outlook::default() };
        let outlook = Outlook { groups: notes.groups(&asks, field, (point, at), watch.rule), ..Outlook::default() };
        notes.spans(&asks, &outlook, setup, watch.rule);
        place(plan, setup, point, &asks, outlook)
    });
    for other in raise.groups.iter().chain(&clear.groups).flat_map(|group| group.points.iter()) {
        if listens && *other != at && plan.onlookers[other.at()].last() != Some(&at) {
            plan.onlookers[other.at()].push(at);
        }
    }
    Rc::make_mut(&mut plan.points[at.at()]).looks = true;
    if listens && plan.lookers.last() != Some(&at) {
        plan.lookers.push(at);
    }
    watch.outlooks = Some(Box::new(Outlooks { raise, clear }));
}

/// Windows at the other points and seasons in the plan.
fn place(plan: &mut Plan, setup: &Setup, point: &Point, asks: &Asks, mut outlook: Outlook) -> Outlook {
    for asked in &asks.windows {
        let alone = match &*outlook.groups[asked.group].points {
            [only] => Some(*only),
            [] | [..] => None,
        };
        outlook.windows.push(alone.map(|only| {
            let span = parse_duration(&asked.span).unwrap_or_default();
            let lent = &mut Rc::make_mut(&mut plan.points[only.at()]).lent;
            lent.asked_by_others = true;
            let place = lent.window(span, asked.over);
            PlacedWindow { point: only, place, over: asked.over }
        }));
    }
    for name in &asks.seasons {
        let known = setup.calendar.seasons.iter().any(|season| season.name == *name);
        outlook.seasons.push(known.then(|| {
            let here = |(site, season): &(SiteId, String)| *site == point.site && season == name;
            plan.seasons.iter().position(here).unwrap_or_else(|| {
                plan.seasons.push((point.site.clone(), name.clone()));
                plan.seasons.len() - 1
            })
        }));
    }
    outlook
}

/// What is to be told, gathered over all points: one message a rule and selector, not one a point.
#[derive(Default)]
struct Notes {
    /// By rule and selector: points where it names something, and points where it names nothing.
    found: BTreeMap<(usize, String), (Vec<PointIndex>, Vec<PointIndex>)>,
    problems: BTreeSet<(usize, String)>,
    remarks: BTreeSet<(usize, String)>,
    seasons: BTreeSet<(usize, String)>,
}

impl Notes {
    fn groups(
        &mut self,
        asks: &Asks,
        field: &mut Field<'_>,
        (point, at): (&Point, PointIndex),
        rule: usize,
    ) -> Vec<Members> {
        self.seasons.extend(asks.seasons.iter().map(|season| (rule, season.clone())));
        let each = asks.groups.iter().enumerate().map(|(group, selector)| {
            let mut points = field.members(selector, at);
            let (some, none) = self.found.entry((rule, selector.to_string())).or_default();
            if points.is_empty() { none } else { some }.push(at);
            if points.len() > MOST_MEMBERS {
                let (most, count) = (MOST_MEMBERS, points.len());
                self.problems.insert((
                    rule,
                    format!(
                        "{selector} at point {} names {count} points, more than {most}; name a place or a relation",
                        point.id
                    ),
                ));
                points = Rc::default();
            }
            let own_votes = field.own_votes(selector, at, &points);
            if field.differ_in_unit(selector, &points) {
                let units: BTreeSet<&str> = points.iter().map(|member| &*field.points[member.at()].unit).collect();
                let units = units.into_iter().collect::<Vec<_>>().join(", ");
                let message = format!("{selector} at point {} names points in different units: {units}", point.id);
                self.remarks.insert((rule, message));
            }
            let voters = points.len() + usize::from(own_votes);
            for (_, k) in asks.votes.iter().filter(|(of, k)| *of == group && *k > voters && voters > 0) {
                let message = format!("{selector} at point {}: {k} votes are asked, but {voters} vote", point.id);
                self.remarks.insert((rule, message));
            }
            if points.len() > 1 && asks.singles.contains(&group) {
                let count = points.len();
                let message = format!(
                    "{selector} at point {} names {count} points, and what only one alone can answer is unknown there",
                    point.id
                );
                self.remarks.insert((rule, message));
            }
            Members { points, own_votes }
        });
        each.collect()
    }

    /// A window that is shorter than it says would say less than it should.
    fn spans(&mut self, asks: &Asks, outlook: &Outlook, setup: &Setup, rule: usize) {
        for asked in &asks.windows {
            let [only] = &*outlook.groups[asked.group].points else { continue };
            let (point, selector) = (&setup.points[only.at()], &asks.groups[asked.group]);
            let samples = expected(parse_duration(&asked.span).unwrap_or_default(), point.period);
            if samples > MOST_SAMPLES {
                let span = &asked.span;
                let message = format!(
                    "{selector} over {span:?} needs {samples} samples at point {}, but {MOST_SAMPLES} are kept: \
                     shorten the span",
                    point.id
                );
                self.problems.insert((rule, message));
            }
        }
    }

    fn tell(mut self, plan: &mut Plan, setup: &Setup) {
        for ((rule, selector), (some, none)) in &self.found {
            let Some(first) = none.first() else { continue };
            let first = &setup.points[first.at()].id;
            let others = if none.len() == 1 { String::new() } else { format!(" and {} more", none.len() - 1) };
            let message = format!("{selector} names no point at {first}{others}: what it asks is unknown there");
            let point = selector.starts_with("point(");
            if point && some.is_empty() {
                self.problems.insert((*rule, format!("{selector} names no point at any site that the rule watches")));
            } else {
                self.remarks.insert((*rule, message));
            }
        }
        let known: BTreeSet<&str> = setup.calendar.seasons.iter().map(|season| &*season.name).collect();
        let listed = known.iter().copied().collect::<Vec<_>>().join(", ");
        for (rule, season) in self.seasons.iter().filter(|(_, season)| !known.contains(&**season)) {
            // A site without any season has not misspelt one: shipped rules ask for some.
            if known.is_empty() {
                let told = format!("season {season:?}: [calendar] names none, so what it asks is unknown");
                self.remarks.insert((*rule, told));
            } else {
                self.problems.insert((*rule, format!("there is no season {season:?}; known are {listed}")));
            }
        }
        let told = |(rule, what): (usize, String)| {
            let rule = &plan.rules[rule].rule;
            let message = format!("rule {:?}: {what}", rule.id);
            RuleProblem::with(rule, message)
        };
        let problems: Vec<RuleProblem> = self.problems.into_iter().map(told).collect();
        let remarks: Vec<RuleProblem> = self.remarks.into_iter().map(told).collect();
        plan.problems.extend(problems);
        plan.remarks.extend(remarks);
    }
}

#[cfg(test)]
mod tests;
