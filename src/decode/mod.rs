//! stub
pub mod registers;
