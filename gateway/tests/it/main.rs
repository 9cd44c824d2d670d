//! The gateway in front of real servers: what passes it, what does not, and what its pages show.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod control;
mod door;
mod end;
mod executor;
mod openapi;
mod pages;
mod platform;
mod proxy;
mod replicas;
mod sample;
mod upstream;
