//! Servers that other people wrote, and a UDP echo.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::Host;
use crate::netns::Namespace;
use crate::process::Process;
use crate::wait;

/// nginx on ports 80 and 8080, IPv4 and IPv6.
///
/// `/` answers with the host's name; files are served from [`root`](Self::root); `/from` answers
/// with the client's address and port as the server sees them; `PUT /in/NAME` stores a file.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    root: PathBuf,
}

impl Nginx {
    /// Starts it on a host and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let name = host.name();
        let home = host.directory().join(format!("nginx-{name}"));
        let root = home.join("root");
        std::fs::create_dir_all(root.join("in")).expect("cannot make nginx's directory");
        let config = home.join("nginx.conf");
        let home_path = home.display();
        let text = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {home_path}/pid;\n\
             error_log stderr warn;\nevents {{ worker_connections 4096; }}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path {home_path}/body; proxy_temp_path {home_path}/proxy;\n\
             fastcgi_temp_path {home_path}/fastcgi; uwsgi_temp_path {home_path}/uwsgi;\n\
             scgi_temp_path {home_path}/scgi;\n\
             client_max_body_size 0; default_type text/plain; sendfile on;\n\
             server {{\n\
             listen 80 backlog=4096; listen [::]:80 backlog=4096 ipv6only=on;\n\
             listen 8080; listen [::]:8080 ipv6only=on;\n\
             root {root};\n\
             location = / {{ return 200 \"{name}\\n\"; }}\n\
             location = /from {{ return 200 \"$remote_addr $remote_port $server_addr $server_port\\n\"; }}\n\
             location /in/ {{ dav_methods PUT; }}\n\
             }} }}\n",
            root = root.display()
        );
        std::fs::write(&config, text).expect("cannot write nginx's configuration");
        let (config, prefix) = (config.display().to_string(), home.display().to_string());
        let mut process = Process::start(
            host.namespace(),
            host.directory(),
            &format!("nginx-{name}"),
            &["nginx", "-e", "stderr", "-p", &prefix, "-c", &config],
        );
        await_listener(&mut process, 80);
        Self { process, root }
    }

    /// The directory whose files it serves.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// An iperf3 server on port 5201.
///
/// # Panics
/// If it does not come up.
#[track_caller]
pub fn iperf3(host: &Host) -> Process {
    let name = format!("iperf3-{}", host.name());
    let mut process = Process::start(
        host.namespace(),
        host.directory(),
        &name,
        &["iperf3", "-s", "--forceflush"],
    );
    await_listener(&mut process, 5201);
    process
}

/// Waits until something listens on a TCP port where `process` runs, without connecting to it.
///
/// # Panics
/// If nothing does, or the process ends.
#[track_caller]
pub fn await_listener(process: &mut Process, port: u16) {
    let wanted = format!(":{port:04X}");
    let listening = wait::until(wait::PATIENCE, || {
        if let Some(status) = process.exited() {
            return Ok(Some(status));
        }
        let tables = process.namespace().inside(|| {
            ["tcp", "tcp6"]
                .map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")))
        });
        let found = tables
            .iter()
            .flatten()
            .flat_map(|table| table.lines())
            .any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let local = words.next().is_some_and(|local| local.ends_with(&wanted));
                local && words.nth(1) == Some("0A")
            });
        if found { Ok(None) } else { Err(()) }
    });
    match listening {
        Ok(None) => (),
        Ok(Some(status)) => panic!("{} ended: {status}\n{}", process.name(), process.log()),
        Err(()) => panic!(
            "{} does not listen on {port}\n{}",
            process.name(),
            process.log()
        ),
    }
}

/// Sends every datagram back to where it came from.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Listens on `address` (which may be unspecified) and `port`.
    ///
    /// # Panics
    /// If it cannot.
    #[track_caller]
    pub fn start(namespace: &Namespace, address: IpAddr, port: u16) -> Self {
        let socket = namespace
            .inside(|| UdpSocket::bind(SocketAddr::new(address, port)))
            .unwrap_or_else(|why| panic!("cannot listen on UDP port {port}: {why}"));
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout that is not 0");
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut datagram = vec![0; 65_536];
            while !asked.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = socket.recv_from(&mut datagram) {
                    let _ = socket.send_to(&datagram[..length], peer);
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
