//! trial stub
