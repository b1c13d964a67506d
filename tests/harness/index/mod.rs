//! A local index that is not what it should be.

mod folder;
