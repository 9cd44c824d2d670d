//! One cluster: what is stored of it, how facts change it, and how it is shown.

pub mod course;
pub mod health;
pub mod record;
pub mod steps;
pub mod view;
pub mod words;
