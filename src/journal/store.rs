//! stub
pub struct Reader;
