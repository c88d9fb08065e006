//! Davy: an early-warning gateway. Samples flow left to right and never back.
//!
//! ```text
//!  MQTT clients ─► listener ┐                                      ┌► notify   people: MQTT, webhook, log
//!  brokers ──────► client   ├► decode ─► journal ─► engine ─► facts ┼► board    page, API, event stream
//!  Modbus ───────► poller   ┤            durable,   rules,   alarms, └────────── (alarms)
//!  HTTP senders ─► web      ┘            ordered    alarms   outbox
//!                                           └─► history (Parquet), influxdb, board (values)
//! ```
//! The middle (`model`, `decode`, `alarm`, `rule`, `engine`, `response`) is plain synchronous Rust: no await, no lock,
//! no clock, no I/O. Everything that can wait, fail or block lives at the two edges.

pub mod claim;
pub mod clock;
pub mod ledger;
pub mod model;

pub mod config;
pub mod import;

pub mod decode;
pub mod source;

pub mod journal;

pub mod alarm;
pub mod engine;
pub mod response;
pub mod rule;

pub mod facts;

pub mod backtest;
pub mod board;
pub mod coverage;
pub mod figures;
pub mod history;
pub mod influxdb;
pub mod losses;
pub mod notify;
pub mod online;
pub mod protection;
pub mod publish;
pub mod remote;
pub mod web;

pub mod cli;
pub mod gateway;
