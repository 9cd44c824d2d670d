//! The `bigdata` command: the platform, its client, and the small processes that the platform starts.

mod arguments;
mod client;
mod commands;
mod context;
mod demo;
mod failure;
mod folder;
mod follow;
mod output;
mod reference_node;
mod target;
mod up;

use crate::arguments::{Arguments, Command};
use crate::context::Context;
use crate::failure::Failure;
use clap::Parser;
use std::process::ExitCode;

/// The first argument of the process that renders templates.
const RENDER: &str = "__render";
/// The first argument of the process that runs one node.
const EXECUTOR: &str = "executor";

fn main() -> ExitCode {
    // The platform starts this program again for its small processes: those come before everything that costs time or
    // memory.
    bigdata_sandbox::main_if_requested();
    let mut words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    match words.next().as_deref() {
        Some(RENDER) => return bigdata_registry::render_child_main(),
        Some(EXECUTOR) => return bigdata_executor::main(),
        Some(reference_node::SUBCOMMAND) => return reference_node::main(words),
        _ => {}
    }
    let arguments = Arguments::parse();
    let context = Context::new(arguments.url, arguments.json);
    match run(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(context.output.json, !context.in_script());
            failure.exit_code()
        }
    }
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    let runtime = match command {
        // Everything runs in these processes; the services bring threads of their own.
        Command::Up(_) | Command::Demo(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    runtime.block_on(dispatch(command, context))
}

async fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Up(command) => up::run(command, context.output).await,
        Command::Demo(command) => demo::run(command, context.output).await,
        Command::Product(command) => commands::product::run(command, context).await,
        Command::Launch(command) => commands::launch::run(command, context).await,
        Command::Connect(command) => commands::connect::run(command, context).await,
        Command::Action(command) => commands::action::run(command, context).await,
        Command::Restore(command) => commands::action::restore(command, context).await,
        Command::Scale(command) => commands::change::scale(command, context).await,
        Command::Upgrade(command) => commands::change::upgrade(command, context).await,
        Command::Cluster(command) => commands::cluster::run(command, context).await,
        Command::Node(command) => commands::node::run(command, context).await,
        Command::Operation(command) => commands::operation::run(command, context).await,
        Command::Explain { cluster } => commands::placement::explain(&cluster, context).await,
        Command::Agents => commands::placement::agents(context).await,
        Command::Admin(command) => commands::admin::run(command, context).await,
        Command::Doctor => commands::doctor::run(context).await,
        Command::Config(command) => up::config(&command, context.output),
        Command::Backup(command) => commands::backup::run(command, context).await,
        Command::Progress(command) => commands::run::progress(command, context).await,
        Command::Output(command) => commands::run::output(command, context).await,
    }
}
