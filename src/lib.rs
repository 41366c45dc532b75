#![doc = include_str!("DESIGN.md")]

pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod kernel;
pub mod model;
pub mod reconcile;
pub mod report;
pub mod servers;
