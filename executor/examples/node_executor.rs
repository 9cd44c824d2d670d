//! The executor alone, as `bigdata executor` runs it: for the tests.

fn main() -> std::process::ExitCode {
    bigdata_sandbox::main_if_requested();
    bigdata_executor::main()
}
