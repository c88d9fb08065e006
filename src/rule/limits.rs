//! Limits in layers: the rule's number is the legal one; a point may only be stricter.

use crate::model::{LimitSet, Point};

/// The effective limits of a rule at a point. A looser number is refused and the rule's own stands; the
/// refusals say so.
pub fn effective(rule: &str, limits: &LimitSet, point: &Point) -> (Vec<(String, f64)>, Vec<String>) {
    let mut refused = Vec::new();
    let effective = limits
        .iter()
        .map(|(name, legal)| {
            let value = match point.limits.get(name) {
                Some(own) if legal.stricter.looser(*own, legal.value) => {
                    refused.push(format!(
                        "point {}: limit {name} = {own} is looser than {} {} of rule {rule} ({}); the rule's limit stands",
                        point.id, legal.value, legal.unit, legal.basis
                    ));
                    legal.value
                }
                Some(own) => *own,
                None => legal.value,
            };
            (name.clone(), value)
        })
        .collect();
    (effective, refused)
}
