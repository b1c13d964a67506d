//! Runs of modules: what is stopped, locked and run, in which order, and what comes back whatever fails.

pub mod app;
mod around_backups;
mod around_restores;
mod backup_steps;
mod copies;
mod downtime;
mod hostile;
mod hostile_snapshots;
mod job_ends;
pub mod jobs;
mod kept;
mod killed;
mod mariadb;
mod park;
mod postgres;
mod postgres_faults;
mod records;
mod restore_steps;
pub mod rows;
mod way_back;
mod whole;
mod writer;
