//! A local index that is not what it should be.

mod damage;
mod folder;
mod history;
mod places;
