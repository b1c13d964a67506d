//! Objects that rot, are cut short, mixed up or lost. `make damage` runs the full budget.

mod bits;
mod objects;
mod subject;
