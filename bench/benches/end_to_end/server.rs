//! The server: a process of its own, which ends when its standard input does.
//!
//! It first writes a line with the key to present and a port for each variant; then, for each line that it reads,
//! the microseconds of CPU that it has used: in user mode, and in the kernel.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write, stdin},
    net::{Ipv4Addr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use tokio::net::TcpListener;

use crate::{
    Result, cores,
    load::{self, Load},
    variants::{self, Variant},
};

pub const SERVE: &str = "serve";

/// What one variant did in its turn.
pub struct Turn {
    pub load: Load,
    /// Per request.
    pub user_us: f64,
    /// Per request.
    pub system_us: f64,
}

/// The process, ended when this is dropped.
pub struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    key: String,
    ports: Vec<u16>,
}

impl Server {
    pub fn start(core: usize) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args([SERVE, &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("the server has no pipes".into()) };
        let output = BufReader::new(output);
        let mut server = Self { process, input, output, key: String::new(), ports: Vec::new() };
        let line = server.line()?;
        let (key, ports) = line.split_once(' ').ok_or("the server did not start")?;
        key.clone_into(&mut server.key);
        server.ports = ports.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
        Ok(server)
    }

    /// With the key 200; without it 401, where there is a check.
    pub fn check(&self) -> Result<()> {
        for variant in Variant::ALL {
            let without = if variant.checks() { 401 } else { 200 };
            for (header, expected) in [(self.authorization().as_str(), 200), ("x-nothing: here", without)] {
                let status = self.ask(variant, header)?;
                if status != format!("HTTP/1.1 {expected}") {
                    return Err(format!("{} answered {status}, not {expected}", variant.name()).into());
                }
            }
        }
        Ok(())
    }

    pub fn turn(&mut self, variant: Variant) -> Result<Turn> {
        let [user, system] = self.used()?;
        let load = load::second(self.port(variant), &self.authorization())?;
        let [user_then, system_then] = self.used()?;
        let each = |us: f64| us / load.requests;
        Ok(Turn { user_us: each(user_then - user), system_us: each(system_then - system), load })
    }

    fn ask(&self, variant: Variant, header: &str) -> Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port(variant)))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(connection, "GET / HTTP/1.1\r\nhost: localhost\r\n{header}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.chars().take("HTTP/1.1 200".len()).collect())
    }

    fn used(&mut self) -> Result<[f64; 2]> {
        self.input.write_all(b"\n")?;
        let line = self.line()?;
        let (user, system) = line.split_once(' ').ok_or("the server is gone")?;
        Ok([user.parse()?, system.parse()?])
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn authorization(&self) -> String {
        format!("Authorization: Bearer {}", self.key)
    }

    fn port(&self, variant: Variant) -> u16 {
        let place = Variant::ALL.iter().position(|&other| other == variant);
        self.ports[place.expect("ALL has all")]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Turn {
    /// Of a request, in all.
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// What the process does.
pub fn serve(core: &str) -> Result<()> {
    cores::pin(core.parse()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let keys = variants::keys();
        let mut hello = vec![keys[0].expose().to_owned()];
        for variant in Variant::ALL {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            hello.push(listener.local_addr()?.port().to_string());
            tokio::spawn(axum::serve(listener, variant.router(&keys)).into_future());
        }
        println!("{}", hello.join(" "));
        let (ended, end) = tokio::sync::oneshot::channel();
        thread::spawn(move || ended.send(answer().map_err(|error| error.to_string())));
        Ok(end.await??)
    })
}

fn answer() -> Result<()> {
    for line in stdin().lines() {
        line?;
        let used = getrusage(UsageWho::RUSAGE_SELF)?;
        println!("{} {}", used.user_time().num_microseconds(), used.system_time().num_microseconds());
    }
    Ok(())
}
