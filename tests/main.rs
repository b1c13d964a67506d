//! tests

mod engine;
mod model;
mod support;
