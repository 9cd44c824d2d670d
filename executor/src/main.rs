//! `bigdata-executor`: the executor alone, for agents that need nothing else of the platform.

use std::process::ExitCode;

const HELP: &str = "\
bigdata-executor: runs one node of a cluster. A Mesos agent starts it, and tells it all that it needs by the variables
MESOS_* of its environment; it takes no arguments for that.

Commands:
  tidy       remove the containers of this machine's engine whose executors are gone, and networks that nobody uses

Options:
  --version  print the version
  --help     print this text";

fn main() -> ExitCode {
    bigdata_sandbox::main_if_requested();
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => bigdata_executor::main(),
        ["tidy"] => bigdata_executor::tidy(),
        ["--version" | "-V"] => {
            println!("bigdata-executor {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["--help" | "-h"] => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!(
                "bigdata-executor: it takes no arguments but tidy, --version and --help, not {arguments:?}\n\n{HELP}"
            );
            ExitCode::from(2)
        }
    }
}
