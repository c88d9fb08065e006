//! The fold: changes of a span in, figures out.
//!
//! Times need not be in order: what arrives late counts when it happened. Memory grows with the alarms of the
//! span (a time each); whoever feeds it bounds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::cause::{Causes, Said, cause_of};
use super::event::{Event, Opened, Running, Source};
use super::places::Places;
use super::report::{Figures, Flood, Floods, Often, Rate, Report, Share, Spread, Stale, Top};
use super::{
    CHATTERS, EPISODE_GAP, FLEETING_BELOW, FLOOD_BEGINS_ABOVE, FLOOD_ENDS_BELOW, HOUR, HOUR_ABOVE, LEAD, MINUTE, MIX,
    MIX_FROM, STALE_AFTER, TEN_MINUTES,
};
use crate::alarm::{Happening, OccurrenceId, Priority};
use crate::model::Timestamp;

/// Sources in a list.
const LISTED: usize = 10;
/// Floods in a list.
const FLOODS: usize = 20;

#[derive(Debug)]
pub struct Tally {
    from: Timestamp,
    to: Timestamp,
    open: Opened,
    sites: BTreeMap<Arc<str>, Count>,
    places: Places,
    /// Of each position.
    posts: Vec<Count>,
    /// Positions of places that were looked up, by site and subject.
    known: HashMap<(Arc<str>, Arc<str>), Vec<usize>>,
    said: Said,
}

/// What is gathered of one site.
#[derive(Clone, Debug, Default)]
struct Count {
    /// Raises, those of the lead before the span included.
    raises: Vec<Timestamp>,
    sources: HashMap<Source, Noted>,
    priorities: [usize; 4],
    exercise: usize,
    episodes: usize,
    causes: Causes,
    fleeting: usize,
    to_acknowledge: Vec<Duration>,
    to_clear: Vec<Duration>,
    active: usize,
    unacknowledged: usize,
    stale: Stale,
}

#[derive(Clone, Debug)]
struct Noted {
    site: Arc<str>,
    /// Raises within the span.
    raises: Vec<Timestamp>,
    /// When it was last raised or ended.
    heard: Option<Timestamp>,
    /// What it was last raised by.
    cause: Option<OccurrenceId>,
}

impl Tally {
    /// `before` is what was open before the first change that will be given; changes from [`LEAD`] before
    /// `from` on follow. Sites and positions of `places` are in the report even if nothing happened at them.
    #[must_use]
    pub fn new(before: Opened, from: Timestamp, to: Timestamp, places: &Places) -> Self {
        let sites = places.sites.iter().map(|site| (site.clone(), Count::default())).collect();
        let posts = places.positions().map(|_| Count::default()).collect();
        Self { from, to, open: before, sites, places: places.clone(), posts, known: HashMap::new(), said: Said::new() }
    }

    /// What people have said of causes holds in place of the groups.
    #[must_use]
    pub fn with_causes(self, said: Said) -> Self {
        Self { said, ..self }
    }

    /// Changes come in the order of their numbers; those outside the span move nothing but what is open.
    pub fn take(&mut self, event: &Event) {
        if event.at >= self.to {
            return;
        }
        let last_raised = self.open.take(event);
        if event.at < self.from - LEAD {
            return;
        }
        let inside = event.at >= self.from;
        let cause = cause_of(event, &self.said);
        self.sites.entry(event.site.clone()).or_default().take(event, &cause, inside, last_raised);
        for post in self.posts_at(&event.site, &event.source.subject) {
            self.posts[post].take(event, &cause, inside, last_raised);
        }
    }

    /// Which positions look after the place; looked up once.
    fn posts_at(&mut self, site: &Arc<str>, subject: &Arc<str>) -> Vec<usize> {
        if self.posts.is_empty() {
            return Vec::new();
        }
        let at = || self.places.at(site, subject);
        self.known.entry((site.clone(), subject.clone())).or_insert_with(at).clone()
    }

    #[must_use]
    pub fn finish(mut self) -> Report {
        for running in std::mem::take(&mut self.open).into_running().filter(|running| !running.exercise) {
            self.sites.entry(running.site.clone()).or_default().standing(&running, self.to);
            for post in self.posts_at(&running.site, &running.source.subject) {
                self.posts[post].standing(&running, self.to);
            }
        }
        let mut total = Gathered::default();
        let mut sites = BTreeMap::new();
        for (site, count) in self.sites {
            let mut gathered = Gathered::default();
            gathered.add(&count);
            total.add(&count);
            sites.insert(site, gathered.figures(self.from, self.to));
        }
        let mut positions = BTreeMap::new();
        for (name, count) in self.places.positions().zip(&self.posts) {
            let mut gathered = Gathered::default();
            gathered.add(count);
            positions.insert(name.clone(), gathered.figures(self.from, self.to));
        }
        let total = total.figures(self.from, self.to);
        Report { from: self.from, to: self.to, complete: true, total, sites, positions }
    }
}

impl Count {
    fn take(&mut self, event: &Event, cause: &OccurrenceId, inside: bool, last_raised: Option<Timestamp>) {
        if event.exercise {
            self.exercise += usize::from(inside && event.is_raise());
            return;
        }
        match event.happening {
            Happening::Raised | Happening::RaisedAgain | Happening::Resumed if event.is_raise() => {
                self.raised(event, cause, inside);
            }
            Happening::Acknowledged if inside => self.to_acknowledge.push(event.at.since(event.raised)),
            // Nobody was called: neither a load for the operator nor an answer of one.
            Happening::Raised | Happening::RaisedAgain | Happening::Resumed => {}
            Happening::Acknowledged
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside => {}
            Happening::Cleared => {
                self.noted(event).hear(event.at);
                if inside {
                    let lasted = event.at.since(last_raised.unwrap_or(event.raised));
                    self.fleeting += usize::from(lasted < FLEETING_BELOW);
                    self.to_clear.push(lasted);
                }
            }
        }
    }

    fn standing(&mut self, running: &Running, to: Timestamp) {
        let holds = running.standing.active();
        self.active += usize::from(holds);
        self.unacknowledged += usize::from(running.standing.waits());
        if holds && to.since(running.since) > STALE_AFTER {
            self.stale.add(&Stale { count: 1, oldest: Some(running.since), share: None });
        }
    }

    fn noted(&mut self, event: &Event) -> &mut Noted {
        let anew = || Noted { site: event.site.clone(), raises: Vec::new(), heard: None, cause: None };
        self.sources.entry(event.source.clone()).or_insert_with(anew)
    }

    fn raised(&mut self, event: &Event, cause: &OccurrenceId, inside: bool) {
        self.raises.push(event.at);
        let noted = self.noted(event);
        let anew = noted.heard.is_none_or(|heard| event.at.since(heard) > EPISODE_GAP);
        noted.hear(event.at);
        let before = noted.cause.replace(cause.clone()).filter(|_| !anew);
        if inside {
            noted.raises.push(event.at);
            self.episodes += usize::from(anew);
            self.priorities[event.priority as usize] += 1;
        }
        self.causes.take(cause, event.at, event.planned, before.as_ref());
    }
}

impl Noted {
    fn hear(&mut self, at: Timestamp) {
        self.heard = self.heard.max(Some(at));
    }
}

impl Stale {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.oldest = match (self.oldest, other.oldest) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
    }
}

/// One site, or all of them.
#[derive(Default)]
struct Gathered {
    of: Count,
    /// Site and times of each source that was raised in the span.
    sources: Vec<(Source, Arc<str>, Vec<Timestamp>)>,
}

impl Gathered {
    fn add(&mut self, count: &Count) {
        let of = &mut self.of;
        of.raises.extend(&count.raises);
        of.to_acknowledge.extend(&count.to_acknowledge);
        of.to_clear.extend(&count.to_clear);
        of.priorities.iter_mut().zip(count.priorities).for_each(|(all, one)| *all += one);
        of.exercise += count.exercise;
        of.episodes += count.episodes;
        of.causes.add(&count.causes);
        of.fleeting += count.fleeting;
        of.active += count.active;
        of.unacknowledged += count.unacknowledged;
        of.stale.add(&count.stale);
        let raised = count.sources.iter().filter(|(_, noted)| !noted.raises.is_empty());
        self.sources.extend(raised.map(|(source, noted)| (source.clone(), noted.site.clone(), noted.raises.clone())));
    }

    fn figures(mut self, from: Timestamp, to: Timestamp) -> Figures {
        self.of.raises.sort_unstable();
        self.sources.iter_mut().for_each(|(_, _, times)| times.sort_unstable());
        // The same order whatever the hash: most alarms first, then by name.
        self.sources.sort_by(|one, other| other.2.len().cmp(&one.2.len()).then_with(|| one.0.cmp(&other.0)));
        let raised: usize = self.of.priorities.iter().sum();
        let part = |count: usize| if raised == 0 { 0.0 } else { count as f64 / raised as f64 };
        let (one_cause_episodes, planned_episodes) = self.of.causes.begun(from);
        let chattering: Vec<_> = self.sources.iter().filter(|(_, _, times)| chatters(times)).collect();
        Figures {
            raised,
            episodes: self.of.episodes,
            one_cause_episodes,
            planned_episodes,
            exercise: self.of.exercise,
            per_10_minutes: rate(&self.of.raises, TEN_MINUTES, FLOOD_BEGINS_ABOVE, from, to),
            per_hour: rate(&self.of.raises, HOUR, HOUR_ABOVE, from, to),
            floods: floods(&self.of.raises, from, to),
            chattering: often(chattering.len(), chattering.iter().copied(), usize::MAX, part),
            fleeting: self.of.fleeting,
            active: self.of.active,
            unacknowledged: self.of.unacknowledged,
            stale: self.of.stale,
            priorities: Priority::ALL
                .iter()
                .zip(self.of.priorities)
                .zip(MIX)
                .map(|((priority, count), target)| {
                    let (share, weighs) = (part(count), *priority != Priority::P4 && raised >= MIX_FROM);
                    Share { priority: priority.word(), raised: count, share, target, over: weighs && share > target }
                })
                .collect(),
            top: often(self.sources.len(), self.sources.iter(), LISTED, part),
            to_acknowledge: spread(self.of.to_acknowledge),
            to_clear: spread(self.of.to_clear),
            to_answer: Spread::default(),
            to_close: Spread::default(),
            escalated: None,
            deliveries: None,
            online: None,
            unapproved: None,
        }
    }
}

/// The first `most` of the sources together, and the first ten of them one by one.
fn often<'a>(
    sources: usize,
    list: impl Iterator<Item = &'a (Source, Arc<str>, Vec<Timestamp>)>,
    most: usize,
    part: impl Fn(usize) -> f64,
) -> Often {
    let mut often = Often { sources, ..Often::default() };
    for (source, site, times) in list.take(most) {
        let raised = times.len();
        often.raised += raised;
        if often.list.len() < LISTED {
            let (rule, subject) = (source.rule.clone(), source.subject.clone());
            often.list.push(Top { rule, subject, site: site.clone(), raised, share: part(raised) });
        }
    }
    often.share = part(often.raised);
    often
}

/// Three or more within a minute, in sorted times.
fn chatters(times: &[Timestamp]) -> bool {
    times.windows(CHATTERS).any(|some| some[CHATTERS - 1].since(some[0]) < MINUTE)
}

/// Sorted times, those of the lead included.
fn rate(times: &[Timestamp], length: Duration, over: usize, from: Timestamp, to: Timestamp) -> Rate {
    let mut rate = Rate::default();
    let within = |start: Timestamp, end: Timestamp| {
        times.partition_point(|at| *at < end) - times.partition_point(|at| *at < start)
    };
    let first_inside = times.partition_point(|at| *at < from);
    let mut oldest = 0;
    for (place, at) in times.iter().enumerate().skip(first_inside) {
        while at.since(times[oldest]) >= length {
            oldest += 1;
        }
        let count = place + 1 - oldest;
        if count > rate.peak {
            (rate.peak, rate.peak_at) = (count, Some(*at));
        }
    }
    rate.now = within(to - length, to);
    let spans = to.since(from).as_secs_f64() / length.as_secs_f64();
    rate.average = if spans > 0.0 { (times.len() - first_inside) as f64 / spans } else { 0.0 };
    let (mut periods, mut above, mut start) = (0_u32, 0_u32, from);
    while start + length <= to {
        periods += 1;
        above += u32::from(within(start, start + length) > over);
        start = start + length;
    }
    rate.share_over = if periods > 0 { f64::from(above) / f64::from(periods) } else { 0.0 };
    rate
}

/// Sweeps over sorted times: each counts for ten minutes.
fn floods(times: &[Timestamp], from: Timestamp, to: Timestamp) -> Floods {
    let mut floods = Floods::default();
    let mut flood: Option<Flood> = None;
    let (mut next, mut oldest) = (0, 0);
    let mut end_flood = |flood: Flood, end: Option<Timestamp>| {
        let until = end.unwrap_or(to);
        if until <= from {
            return;
        }
        let flood = Flood { from: flood.from.max(from), to: end, ..flood };
        floods.count += 1;
        floods.under_way |= end.is_none();
        floods.seconds += until.since(flood.from).as_secs_f64();
        if floods.list.len() == FLOODS {
            floods.list.remove(0);
        }
        floods.list.push(flood);
    };
    while oldest < times.len() {
        let expiry = times[oldest] + TEN_MINUTES;
        match times.get(next).filter(|at| **at < expiry) {
            Some(at) => {
                next += 1;
                let count = next - oldest;
                match &mut flood {
                    Some(flood) => flood.raised += 1,
                    None if count > FLOOD_BEGINS_ABOVE => flood = Some(Flood { from: *at, to: None, raised: count }),
                    None => {}
                }
            }
            None if expiry > to => break,
            None => {
                oldest += 1;
                if next - oldest < FLOOD_ENDS_BELOW
                    && let Some(over) = flood.take()
                {
                    end_flood(over, Some(expiry));
                }
            }
        }
    }
    if let Some(under_way) = flood {
        end_flood(under_way, None);
    }
    let span = to.since(from).as_secs_f64();
    floods.share = if span > 0.0 { floods.seconds / span } else { 0.0 };
    floods
}

pub(super) fn spread(mut times: Vec<Duration>) -> Spread {
    times.sort_unstable();
    let rank = |hundredths: usize| {
        let place = (times.len() * hundredths).div_ceil(100);
        place.checked_sub(1).and_then(|place| times.get(place)).map(Duration::as_secs_f64)
    };
    Spread { count: times.len(), median: rank(50), p95: rank(95) }
}
