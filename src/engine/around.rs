//! Looking around: other points, the site's state and the season for rules that ask, and who is judged again.
//!
//! In come the states of all points; out goes what one closure sees from its point. A rule that looks around
//! is judged once all samples of an entry are in: a frame that brings three sensors is judged as a whole, and
//! each of its samples is seen, because a second one of the same point in one entry settles the first. Such a
//! rule is judged when its own point speaks, when one that it looks at does, and when the site's state or the
//! season changes. Points without such rules pay one comparison a sample.
//!
//! Everything is reckoned in journal time. Event times of one point's verdicts never run backwards, but for a
//! clock that was set back.

use std::rc::Rc;
use std::time::Duration;

use super::Effect;
use super::open::Moment;
use super::shard::{AHEAD, Asked, PointState, Shard, patience};
use crate::alarm::State;
use crate::model::{PointIndex, PointTable, SiteId, Timestamp};
use crate::rule::{Around, Compiled, Member, Outlook, Standing, Watch};

/// Points whose rules are to be judged at the end of the entry.
#[derive(Debug, Default)]
pub(super) struct Stirred {
    order: Vec<PointIndex>,
    /// By point.
    marks: Vec<Mark>,
    /// Points that spoke.
    spoke: Vec<PointIndex>,
    /// Davy's clock with the grain of ticks, and as it was.
    moment: Option<(Timestamp, Timestamp)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    spoke: bool,
    asked: bool,
}

impl Shard<'_> {
    /// A point speaks: whoever looks at it is judged when the entry ends, and itself where what it shows does not
    /// settle what its rules say of others, whatever these show.
    pub(super) fn stir(&mut self, index: PointIndex, moment: Moment) {
        let at = index.at();
        let looks =
            self.plan.points.get(at).is_some_and(|plan| plan.looks) && !self.answers(at, &moment, Asked::Around);
        let Some(onlookers) = self.plan.onlookers.get(at).filter(|onlookers| looks || !onlookers.is_empty()) else {
            return;
        };
        let stirred = &mut self.stirred;
        stirred.marks.resize(self.points.len(), Mark::default());
        stirred.moment = stirred.moment.max(Some((moment.now, moment.received)));
        stirred.marks[at].spoke = true;
        stirred.spoke.push(index);
        for point in looks.then_some(index).into_iter().chain(onlookers.iter().copied()) {
            if !std::mem::replace(&mut stirred.marks[point.at()].asked, true) {
                stirred.order.push(point);
            }
        }
    }

    /// Has it spoken in this entry already, and somebody looks at it?
    pub(super) fn spoke(&self, index: PointIndex) -> bool {
        self.stirred.moment.is_some() && self.stirred.marks.get(index.at()).is_some_and(|mark| mark.spoke)
    }

    /// Judges what was stirred.
    pub(super) fn settle_around(&mut self, effects: &mut Vec<Effect>) {
        let Some((now, received)) = self.stirred.moment.take() else { return };
        let (order, spoke) = (std::mem::take(&mut self.stirred.order), std::mem::take(&mut self.stirred.spoke));
        for points in order.chunks(AHEAD) {
            self.fetch(points.iter().map(|point| point.at()));
            for point in points {
                self.judge_onlooker(*point, now, received, effects);
            }
        }
        for point in order.iter().chain(&spoke) {
            self.stirred.marks[point.at()] = Mark::default();
        }
        (self.stirred.order, self.stirred.spoke) = (order, spoke);
        self.stirred.order.clear();
        self.stirred.spoke.clear();
    }

    /// Asks the rules of a point that look beyond it. `now` is Davy's clock with the grain of ticks.
    pub(super) fn judge_onlooker(
        &mut self,
        index: PointIndex,
        now: Timestamp,
        received: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(state), Some(plan)) = (self.points.get(index.at()), self.plan.points.get(index.at())) else { return };
        // As the last tick had it; what came since was measured no earlier than its own samples.
        let tick = self.last_tick(now);
        let there = Timestamp::from_micros(tick.micros().saturating_add(state.skew_micros));
        let value = match standing(state, plan.period, tick, self.listening_since) {
            Standing::Usable(value) => Some(value),
            Standing::Broken | Standing::Awaited => None,
        };
        let moment = Moment { at: there.max(state.source_time), received, now, value, quality: state.quality };
        self.judge_point(index.at(), &moment, Asked::Around, effects);
        self.wake(index.at());
    }

    /// Who is silent is decided at ticks, as everywhere.
    fn last_tick(&self, now: Timestamp) -> Timestamp {
        if self.now == Timestamp::MIN { now } else { self.now }
    }

    /// Fills what the rules of a point that are asked will see, by the place of their watches. `None`: those about
    /// the sensor itself. `skipped`: those that are not asked, as bits.
    pub(super) fn look_around(&mut self, at: usize, moment: Moment, asked: Option<Asked>, skipped: u64) {
        let (Some(state), Some(plan), Some(point)) =
            (self.points.get(at), self.plan.points.get(at), self.table.list().get(at))
        else {
            return;
        };
        let occasion = asked.map_or(&plan.occasions.health, |asked| asked.occasion(&plan.occasions));
        let mut places = occasion.places(skipped).peekable();
        if places.peek().is_none() {
            return;
        }
        let (now, tick, listening) = (moment.now, self.last_tick(moment.now), self.listening_since);
        let own = match (asked, moment.value) {
            (Some(Asked::Overtaken), Some(value)) => Standing::Usable(value),
            (Some(Asked::Overtaken | Asked::Around | Asked::Sample { .. } | Asked::Tick { .. }) | None, _) => {
                standing(state, plan.period, tick, listening)
            }
        };
        self.seen.resize_with(plan.watches.len().max(self.seen.len()), Rc::default);
        for place in places {
            let watch = &plan.watches[place];
            let holding = !state.slots.rests(place) && matches!(state.slots[place].state, State::Active { .. });
            let Some(outlook) = outlook(watch, &self.plan.rules[watch.rule], holding) else { continue };
            let seen = Rc::make_mut(&mut self.seen[place]);
            seen.look(outlook, |other| {
                let (state, plan) = (self.points.get(other.at())?, self.plan.points.get(other.at())?);
                Some(Member {
                    standing: standing(state, plan.period, tick, listening),
                    quality: state.quality,
                    age_s: now.since(state.heard).as_secs_f64(),
                    past: &state.past,
                })
            });
            seen.seasons.clear();
            let in_season = |place: &Option<usize>| place.and_then(|place| self.in_season.get(place).copied());
            seen.seasons.extend(outlook.seasons.iter().map(in_season));
            seen.site = self.sites.get(&point.site).map(|standing| standing.state).unwrap_or_default();
            seen.hour = self.setup.as_ref().map_or(0.0, |setup| setup.calendar.hour(now));
            seen.own = own;
            seen.holding = holding;
        }
    }

    /// Which seasons it is; they change with the local day. True: one has begun or ended.
    pub(super) fn look_up_seasons(&mut self, now: Timestamp) -> bool {
        let Some(setup) = &self.setup else { return false };
        self.today = now;
        let here = |(site, name): &(SiteId, String)| setup.calendar.in_season(name, site, now);
        let seasons: Vec<bool> = self.plan.seasons.iter().map(here).collect();
        std::mem::replace(&mut self.in_season, seasons) != self.in_season
    }

    /// Once a local day.
    pub(super) fn look_at_seasons(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let another_day =
            self.setup.as_ref().is_some_and(|setup| setup.calendar.day(now) != setup.calendar.day(self.today));
        if another_day && self.look_up_seasons(now) {
            for point in self.plan.lookers.clone() {
                self.judge_onlooker(point, now, now, effects);
            }
        }
    }
}

/// What the closure that is asked next looks at; the same choice that the verdict makes.
fn outlook<'w>(watch: &'w Watch, compiled: &Compiled, holding: bool) -> Option<&'w Outlook> {
    let outlooks = watch.outlooks.as_deref()?;
    Some(if holding && compiled.clear.is_some() { &outlooks.clear } else { &outlooks.raise })
}

/// A point as others see it. A value from before Davy listened is none; that it is missing is a fault only
/// once there was time to send a new one.
fn standing(state: &PointState, period: Duration, now: Timestamp, listening_since: Timestamp) -> Standing {
    let patience = patience(period);
    let fresh = now.since(state.usable_received) <= patience;
    match state.value {
        _ if !state.quality.usable() => Standing::Broken,
        Some(value) if fresh => Standing::Usable(value),
        Some(_) | None if now.since(state.usable_received.max(listening_since)) > patience => Standing::Broken,
        Some(_) | None => Standing::Awaited,
    }
}

/// What an alarm says of what was seen: each member by name, up to a bound.
pub(super) fn told(around: &Around, table: &PointTable) -> String {
    const NAMED: usize = 20;
    let members = || around.groups.iter().flat_map(|group| group.points.iter().zip(&group.standings));
    let mut words: Vec<String> = members()
        .take(NAMED)
        .filter_map(|(point, standing)| {
            let point = table.get(*point)?;
            Some(match standing {
                Standing::Usable(value) => format!("{} {value} {}", point.local(), point.unit).trim_end().to_owned(),
                Standing::Broken => format!("{} 故障 / broken", point.local()),
                Standing::Awaited => format!("{} 未收到 / not heard yet", point.local()),
            })
        })
        .collect();
    if members().count() > NAMED {
        words.push(format!(".. {} 个 / in all", members().count()));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests;
