//! tests

mod model;
