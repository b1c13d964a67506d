//! The power goes, under real file systems on images.
//!
//! - `image`: blocks of an image, and mounts that go away by themselves.
//! - `shutdown`: the file system is shut down under the running program (ext4, XFS).
//! - `recorder`: a device that records every write and flush.
//! - `script`: what the program does on it, and what it promised when.
//! - `replay`: images as a power cut may have left them, mounted and judged.

mod image;
mod recorder;
mod replay;
mod script;
mod shutdown;
