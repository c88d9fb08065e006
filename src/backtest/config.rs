//! Which points a backtest is about.

use super::Error;
use crate::model::{Point, fits};

/// Points with those left out retired, so that every index stays what it is.
#[derive(Clone, Debug)]
pub struct Selection {
    pub points: Vec<Point>,
    pub chosen: usize,
}

/// Points whose ids fit one of the patterns (`mine.t1`, `mine.*`); all of them when there are none.
pub fn select(points: &[Point], patterns: &[String]) -> Result<Selection, Error> {
    for pattern in patterns {
        if !points.iter().any(|point| fits(pattern, &point.id)) {
            return Err(Error::Asked(format!("points: {pattern:?} names no point")));
        }
    }
    let mut points = points.to_vec();
    for point in &mut points {
        point.retired |= !patterns.is_empty() && !patterns.iter().any(|pattern| fits(pattern, &point.id));
    }
    let chosen = points.iter().filter(|point| !point.retired).count();
    if chosen == 0 {
        return Err(Error::Asked("there are no points to try the rules on".into()));
    }
    Ok(Selection { points, chosen })
}
