//! Would these tests find a bug? More than a hundred are planted, one at a time, and each must make the tests fail
//! that are there for it; without any, the same tests must pass. `make planted`.

pub mod found_by;
#[cfg(feature = "planted")]
mod rows;
#[cfg(feature = "planted")]
mod run;

#[cfg(feature = "planted")]
mod all;
