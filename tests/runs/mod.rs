//! Runs of modules: what is stopped, locked and run, in which order, and what comes back whatever fails.

pub mod app;
mod backup_steps;
mod hostile;
mod killed;
mod mariadb;
mod records;
mod restore_steps;
