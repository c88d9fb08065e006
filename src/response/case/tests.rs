//! Stories and properties of cases on a pure clock.
