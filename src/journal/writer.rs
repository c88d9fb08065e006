//! stub
pub struct Durable;
pub struct Feed;
pub struct Journal;
pub struct Numbers;
