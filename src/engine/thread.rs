//! stub
pub struct Options; pub struct Running; pub fn start() {}
