//! Points in bulk: a file of points laid over a point table.
//!
//! In come the lines of a CSV or definition file, the point table that is there, and the rules; out goes the
//! new table as text with what is added, changed, absent and retired, or problems that name line and column.
//! Nothing is written here. What a line does not speak of stays as it was: its binding, its period, a comment
//! above it. A limit is never loosened, and a value that is looser than the rules' is told and not taken.

pub mod cddy;
mod merge;
pub mod types;

use std::collections::HashMap;

use crate::config::{Key, Known, Problems, Table, check_row};
use crate::journal::{RuleFile, Setup};
use crate::model::{Point, Stricter};
use crate::rule::{Language, Plan};

pub use merge::{Change, Merged, write};

/// One line of a file: columns and cells, an empty cell taking away what was there.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it stands in its file.
    pub at: Key,
    pub cells: Vec<(String, String)>,
    pub values: Values,
    /// What the location says of the place; fills an empty cell only.
    pub place: Option<String>,
}

/// Set points of a definition file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    pub high_alarm: Option<f64>,
    pub low_alarm: Option<f64>,
    pub high_cut: Option<f64>,
    pub low_cut: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub struct Sheet {
    pub lines: Vec<Line>,
}

impl Sheet {
    /// A CSV file with the columns of a point table.
    pub fn of_csv(text: &str, problems: &mut Problems) -> Option<Self> {
        let table = Table::read(text, problems)?;
        let lines = table.rows.iter().map(|row| Line {
            at: Key::of(format!("line {}", row.line)),
            cells: table.columns.iter().zip(&row.cells).map(|(column, cell)| (column.into(), cell.into())).collect(),
            values: Values::default(),
            place: None,
        });
        Some(Self { lines: lines.collect() })
    }
}

impl Line {
    #[must_use]
    pub fn cell(&self, column: &str) -> &str {
        self.cells.iter().find(|(known, _)| known == column).map_or("", |(_, cell)| cell)
    }

    fn set(&mut self, column: &str, cell: String) {
        match self.cells.iter_mut().find(|(known, _)| known == column) {
            Some((_, old)) => *old = cell,
            None => self.cells.push((column.to_owned(), cell)),
        }
    }
}

/// What a sheet is laid over.
#[derive(Debug)]
pub struct Ground<'a> {
    /// What a point may refer to.
    pub known: Known<'a>,
    pub rules: Vec<RuleFile>,
    /// Points that are configured in another file, by id.
    pub elsewhere: HashMap<String, String>,
}

/// Checks every line against its point as it would be; lines with problems are taken out of the sheet.
/// Returns remarks: what was not taken, and why.
pub fn check(sheet: &mut Sheet, old: Option<&Table<'_>>, ground: &Ground<'_>, problems: &mut Problems) -> Vec<String> {
    let old_rows = merge::by_id(old);
    let mut first = HashMap::<String, String>::new();
    let mut points: Vec<Option<Point>> = Vec::with_capacity(sheet.lines.len());
    for line in &mut sheet.lines {
        let id = line.cell("id").to_owned();
        let there = old_rows.get(&*id);
        if let Some(other) = first.get(&id) {
            problems.add(line.at.field("id"), format!("{id:?} is on {other} already; an id names one point"));
            points.push(None);
            continue;
        }
        first.insert(id.clone(), line.at.to_string());
        if let Some(file) = ground.elsewhere.get(&id) {
            problems.add(line.at.field("id"), format!("{id:?} is configured in {file}; change it there"));
            points.push(None);
            continue;
        }
        let has_place = there.is_some_and(|row| !row.cell("place").is_empty()) || !line.cell("place").is_empty();
        if let (Some(place), false) = (line.place.take(), has_place) {
            line.set("place", place);
        }
        let whole = merge::laid_over(line, there);
        let cells = whole.iter().map(|(column, cell)| (&**column, &**cell));
        points.push(check_row(cells, &line.at, ground.known, problems).map(|sound| sound.point));
    }
    let remarks = weigh_limits(sheet, &mut points, ground, problems);
    let mut sound = points.iter().map(Option::is_some);
    sheet.lines.retain(|_| sound.next().unwrap_or(false));
    remarks
}

/// Set points of the file into limits where they are stricter than the rules'; a limit that is looser than a
/// rule's is a problem of its line.
fn weigh_limits(
    sheet: &mut Sheet,
    points: &mut [Option<Point>],
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<String> {
    let places: Vec<usize> = (0..points.len()).filter(|at| points[*at].is_some()).collect();
    let known: Vec<Point> = points.iter().flatten().cloned().collect();
    let setup = Setup { rules: ground.rules.clone(), ..Setup::of(known) };
    let plan = Plan::new(&Language::new(), &setup);
    let mut remarks = Vec::new();
    for ((at, point), watched) in places.into_iter().zip(&setup.points).zip(&plan.points) {
        let line = &mut sheet.lines[at];
        let limits = Limits::of(watched.watches.iter().map(|watch| &plan.rules[watch.rule].rule), point);
        let before = problems.len();
        for (name, own) in &point.limits {
            if let Some(legal) = limits.strictest(name).filter(|legal| legal.stricter.looser(*own, legal.value)) {
                let message = format!("{own} is looser than {}", legal.told());
                problems.add(line.at.field("limits").field(name), message);
            }
        }
        if problems.len() > before {
            points[at] = None;
            continue;
        }
        let values = [
            ("high alarm", line.values.high_alarm, Stricter::Lower, ["alarm", "high", "level_1"]),
            ("high power-cut", line.values.high_cut, Stricter::Lower, ["power_cut", "high_high", "level_2"]),
            ("low alarm", line.values.low_alarm, Stricter::Higher, ["alarm", "low", "low"]),
            ("low power-cut", line.values.low_cut, Stricter::Higher, ["power_cut", "low_low", "low_low"]),
        ];
        for (what, value, stricter, names) in values {
            let Some(value) = value else { continue };
            let column = format!("notes.{}", what.replace([' ', '-'], "_"));
            line.set(&column, value.to_string());
            let at = &line.at;
            let unset = match stricter {
                Stricter::Lower => value <= point.range.map_or(0.0, |range| range.low),
                Stricter::Higher => value <= point.range.map_or(f64::NEG_INFINITY, |range| range.low),
            };
            if unset {
                remarks.push(format!(
                    "{at}: {what} {value} of {} is at the low end of its range: taken as not set",
                    point.id
                ));
                continue;
            }
            let found = names.into_iter().find_map(|name| {
                limits.strictest(name).filter(|legal| legal.stricter == stricter).map(|legal| (name, legal))
            });
            let Some((name, legal)) = found else {
                remarks.push(format!(
                    "{at}: no rule that watches {} ({} at {:?}) has a limit for its {what} {value}: kept as a note",
                    point.id, point.kind, point.place
                ));
                continue;
            };
            if legal.stricter.looser(value, legal.value) {
                remarks.push(format!(
                    "{at}: {what} {value} of {} is looser than {}: not taken",
                    point.id,
                    legal.told()
                ));
            } else if point.limits.get(name).is_some_and(|own| legal.stricter.looser(value, *own)) {
                remarks.push(format!(
                    "{at}: {what} {value} of {} is looser than its own limit {name}: not taken",
                    point.id
                ));
            } else if value.to_bits() != legal.value.to_bits() {
                line.set(&format!("limits.{name}"), value.to_string());
            }
        }
    }
    remarks
}

/// Limits of the rules that watch a point.
struct Limits<'a>(Vec<(String, Legal<'a>)>);

#[derive(Clone, Copy)]
struct Legal<'a> {
    value: f64,
    stricter: Stricter,
    unit: &'a str,
    rule: &'a str,
    basis: &'a str,
}

impl<'a> Limits<'a> {
    fn of(rules: impl Iterator<Item = &'a crate::rule::Rule>, point: &Point) -> Self {
        let for_its_kind = rules.filter(|rule| rule.watches.kinds.contains(&point.kind));
        let limits = for_its_kind.flat_map(|rule| {
            rule.limits.iter().flat_map(|(name, limit)| {
                let legal = Legal {
                    value: limit.set.unwrap_or(limit.value),
                    stricter: limit.stricter,
                    unit: &limit.unit,
                    rule: &rule.id,
                    basis: &limit.basis,
                };
                // A limit may be named alone, or with its rule where others have that name too.
                [(name.clone(), legal), (format!("{}.{name}", rule.id), legal)]
            })
        });
        Self(limits.collect())
    }

    /// Of several rules' limits of that name the one that allows least.
    fn strictest(&self, name: &str) -> Option<Legal<'a>> {
        let of_it = self.0.iter().filter(|(known, _)| *known == name).map(|(_, legal)| *legal);
        of_it.reduce(|one, other| if one.stricter.looser(one.value, other.value) { other } else { one })
    }
}

impl Legal<'_> {
    fn told(&self) -> String {
        format!("{} {} of rule {} ({})", self.value, self.unit, self.rule, self.basis)
    }
}

#[cfg(test)]
mod tests;
