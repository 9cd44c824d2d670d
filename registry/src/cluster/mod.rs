//! One cluster: what is stored of it, how facts change it, and how it is shown.

pub mod birth;
pub mod calls;
mod clock;
pub mod course;
pub mod health;
pub mod hooks;
mod next;
mod plans;
pub mod record;
pub mod steps;
pub mod view;
pub mod wanted;
pub mod words;
