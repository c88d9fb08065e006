//! The edge through a real socket: a real server, a real client, doubles only behind the edge.

mod api;
mod counted;
mod door;
mod exercises;
mod ingest;
mod link;
mod live;
mod people;
mod screen;
mod stage;
