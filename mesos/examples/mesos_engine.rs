//! An engine of its own: `mesos_engine ADDRESS WORK_DIR`. Prints its address, and runs until it is told to end.

use std::net::SocketAddr;

use bigdata_mesos::engine::{Engine, Settings, Shutdown};
use bigdata_mesos::v1::Resource;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, work_dir] = arguments.as_slice() else {
        return Err("usage: mesos_engine ADDRESS WORK_DIR".into());
    };
    let listen: SocketAddr = listen.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut settings = Settings::new(listen, work_dir);
        settings.resources = Some(vec![
            Resource::scalar("cpus", 1000.0),
            Resource::scalar("mem", 1_000_000.0),
            Resource::scalar("disk", 1_000_000.0),
            Resource::ports([(31000, 32000)]),
        ]);
        let engine = Engine::start(settings).await?;
        println!("{}", engine.address());
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            () = engine.ended() => return Ok(()),
        }
        engine.shutdown(Shutdown::KeepExecutors).await;
        Ok(())
    })
}
