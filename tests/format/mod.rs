//! The stored format as it is on disk: repositories that were written once and must be read for ever, and
//! the bytes that fuzzing found.

mod corpus;
mod golden;
mod make;
mod years;
