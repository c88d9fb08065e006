//! Whose figures there are: sites, and positions with the places that they look after.
//!
//! In come the names of the sites and the duty of the setup; out goes, for the place of an alarm, which positions
//! have it on their screen: those of an area that holds it, or, where a level has none, those that are for
//! everywhere. What is about the gateway itself is everybody's. The same choice as in calling.

use std::sync::Arc;

use crate::engine::GATEWAY;
use crate::model::{Area, Duty, Tier};

#[derive(Clone, Debug)]
struct Post {
    name: Arc<str>,
    tier: Tier,
    /// None: everywhere.
    area: Option<Area>,
}

#[derive(Clone, Debug, Default)]
pub struct Places {
    /// They are in a report even if nothing happened at them.
    pub sites: Vec<Arc<str>>,
    posts: Vec<Post>,
}

impl Places {
    #[must_use]
    pub const fn of_sites(sites: Vec<Arc<str>>) -> Self {
        Self { sites, posts: Vec::new() }
    }

    #[must_use]
    pub fn with_positions(mut self, duty: &Duty) -> Self {
        let posts = duty.positions.iter().map(|(name, position)| Post {
            name: name.as_str().into(),
            tier: position.tier,
            area: position.area.as_ref().map(|area| duty.areas.get(area).cloned().unwrap_or_else(Area::nowhere)),
        });
        self.posts = posts.collect();
        self
    }

    pub fn positions(&self) -> impl Iterator<Item = &Arc<str>> {
        self.posts.iter().map(|post| &post.name)
    }

    /// Positions, by their place in the list, that have an alarm there on their screen.
    #[must_use]
    pub fn at(&self, site: &str, subject: &str) -> Vec<usize> {
        let everybody = site == GATEWAY;
        let holds = |post: &Post| post.area.as_ref().is_some_and(|area| area.holds(site, subject));
        let mut list = Vec::new();
        for tier in Tier::ALL {
            let of_tier = || self.posts.iter().enumerate().filter(move |(_, post)| post.tier == tier);
            let near: Vec<usize> = of_tier().filter(|(_, post)| holds(post)).map(|(place, _)| place).collect();
            if everybody {
                list.extend(of_tier().map(|(place, _)| place));
            } else if near.is_empty() {
                list.extend(of_tier().filter(|(_, post)| post.area.is_none()).map(|(place, _)| place));
            } else {
                list.extend(near);
            }
        }
        list
    }
}
