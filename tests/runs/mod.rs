//! Runs of modules: what is stopped, locked and run, in which order, and what comes back whatever fails.

pub mod app;
mod backup_steps;
mod copies;
mod downtime;
mod hostile;
mod kept;
mod killed;
mod mariadb;
mod postgres;
mod restore_steps;
mod way_back;
mod whole;
mod writer;
